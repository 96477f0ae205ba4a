// node lighthouse.mjs CHROMIUM mobile|desktop URL…  →  one line of JSON for each page: scores 0 … 100 and what failed
import lighthouse from "lighthouse";
import desktop from "lighthouse/core/config/desktop-config.js";
import { launch } from "chrome-launcher";

const TIMES = [
  "first-contentful-paint",
  "largest-contentful-paint",
  "total-blocking-time",
  "cumulative-layout-shift",
  "total-byte-weight",
];
const [chromePath, preset, ...urls] = process.argv.slice(2);
const chrome = await launch({
  chromePath,
  chromeFlags: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
  ],
});

/** What of an audit's items says where the fault is. @param {Record<string, any>} item */
const place = (item) => item.node?.snippet ?? item.description ?? item.url ?? "";

try {
  for (const url of urls) {
    const config = preset === "desktop" ? desktop : undefined;
    const result = await lighthouse(url, { port: chrome.port, logLevel: "error" }, config);
    if (!result) throw new Error(`Lighthouse says nothing of ${url}`);
    const { categories, audits } = result.lhr;
    const scores = Object.values(categories).map(({ id, score }) => [id, Math.round((score ?? 0) * 100)]);
    const failed = [];
    for (const category of ["accessibility", "best-practices", "seo"]) {
      for (const { id, weight } of categories[category].auditRefs) {
        const { score, details } = audits[id];
        if (weight === 0 || score === null || score === 1) continue;
        const items = details && "items" in details ? details.items.slice(0, 3) : [];
        failed.push(`${id}: ${items.map(place).join(" ; ").slice(0, 300)}`);
      }
    }
    const times = TIMES.map((id) => `${id} ${audits[id].displayValue}`);
    console.log(JSON.stringify({ url, preset, scores: Object.fromEntries(scores), failed, times }));
  }
} finally {
  chrome.kill();
}

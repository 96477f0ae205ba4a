// node lighthouse.mjs CHROMIUM mobile|desktop URL…  →  one line of JSON for each page: scores 0 … 100 and what failed
import lighthouse from "lighthouse";
import desktop from "lighthouse/core/config/desktop-config.js";
import { launch } from "chrome-launcher";

const [chromePath, preset, ...urls] = process.argv.slice(2);
const chromeFlags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"];
const chrome = await launch({ chromePath, chromeFlags });
try {
  for (const url of urls) {
    const { lhr } = await lighthouse(url, { port: chrome.port, logLevel: "error" }, preset === "desktop" ? desktop : undefined);
    const scores = Object.fromEntries(Object.values(lhr.categories).map((c) => [c.id, Math.round(c.score * 100)]));
    const failed = [];
    for (const category of ["accessibility", "best-practices", "seo"])
      for (const { id, weight } of lhr.categories[category].auditRefs) {
        const audit = lhr.audits[id];
        if (weight > 0 && audit.score !== null && audit.score < 1)
          failed.push(`${id}: ${(audit.details?.items ?? []).slice(0, 3).map((i) => i.node?.snippet ?? i.description ?? i.url ?? "").join(" ; ").slice(0, 300)}`);
      }
    const times = ["first-contentful-paint", "largest-contentful-paint", "total-blocking-time", "cumulative-layout-shift", "total-byte-weight"];
    console.log(JSON.stringify({ url, preset, scores, failed, times: times.map((id) => `${id} ${lhr.audits[id].displayValue}`) }));
  }
} finally {
  await chrome.kill();
}

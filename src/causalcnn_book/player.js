// A player inside a figure: one element, whose sound follows the state, also while it plays.
import { make } from "./explorer.js";

/** @import { Changes, Control } from "./types" */

const EVERY_MS = 60;

/**
 * A player; where a trait counts frames of the sound, the figure goes along while it plays, and it goes where a reader
 * moves the figure.
 * @template {object} S
 * @param {(s: S) => { title: string, mp3: string }} now the title and the MP3 (as base64) of a state
 * @param {{ key: keyof S & string, rate: number }} [along] the trait that counts frames, and how many a second
 * @returns {Control<S>}
 */
export const player = (now, along) => ({
  key: "sound",
  build({ model, state, keep, follow }) {
    const words = make("div", { class: "cc-sound-title" });
    const audio = make("audio", { controls: "", preload: "none", "data-key": "sound" });
    const seconds = `${(Math.round(model.get("seconds") * 10) / 10).toFixed(1)} seconds`;
    /** @type {number | undefined} */
    let held; // where to go on when the next sound is there
    audio.addEventListener("canplay", () => {
      if (held !== undefined) audio.currentTime = held;
      held = undefined;
    });
    follow(() => {
      const { title, mp3 } = now(state()),
        source = "data:audio/mpeg;base64," + mp3;
      const playing = !audio.paused && !audio.ended;
      words.textContent = `${title}, ${seconds}`;
      audio.setAttribute("aria-label", words.textContent);
      if (audio.getAttribute("src") === source) return;
      if (playing) held ??= audio.currentTime;
      audio.src = source;
      if (playing) audio.play().catch(() => {});
    });
    if (along) goAlong(audio, along, { state, keep, follow });
    return make("div", { class: "cc-sound" }, words, audio);
  },
});

/**
 * Move a trait with the sound, and the sound with the trait.
 * @template {object} S
 * @param {HTMLAudioElement} audio
 * @param {{ key: keyof S & string, rate: number }} along
 * @param {{ state: () => S, keep: (changes: Changes<S>) => void, follow: (sync: () => void) => void }} figure
 */
function goAlong(audio, { key, rate }, { state, keep, follow }) {
  const frame = () => Number(state()[key]);
  let known = frame();
  let telling = false;
  const tell = () => {
    telling = true;
    keep(/** @type {Changes<S>} */ ({ [key]: Math.floor(audio.currentTime * rate) }));
    telling = false;
  };
  /** Whether the sentence is spoken when it changes. @param {string} when */
  const announce = (when) => audio.closest(".cc-fig")?.querySelector(".cc-says")?.setAttribute("aria-live", when);
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let timer;
  audio.addEventListener("play", () => {
    clearInterval(timer);
    announce("off"); // a screen reader would speak over the sound
    timer = setInterval(() => (audio.isConnected ? tell() : clearInterval(timer)), EVERY_MS);
  });
  for (const end of ["pause", "ended"])
    audio.addEventListener(end, () => {
      clearInterval(timer);
      announce("polite");
      tell();
    });
  follow(() => {
    if (frame() !== known && !telling) audio.currentTime = frame() / rate;
    known = frame();
  });
}

// A player inside a figure: one element, whose sound follows the state, also while it plays.
import { make } from "./explorer.js";

/** @import { Control } from "./types" */

/**
 * @template {object} S
 * @param {(s: S) => { title: string, mp3: string }} now the title and the MP3 (as base64) of a state
 * @returns {Control<S>}
 */
export const player = (now) => ({
  key: "sound",
  build({ model, state, follow }) {
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
    return make("div", { class: "cc-sound" }, words, audio);
  },
});

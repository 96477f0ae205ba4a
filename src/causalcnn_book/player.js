// A player inside a figure: one element, whose sound follows a slider, also while it plays.

/** `now()` gives the title and the MP3 (as base64) of the present setting; `key` is what the sound depends on. */
export function playerOf(model, key, now) {
  const words = make("div", { class: "cc-sound-title" });
  const audio = make("audio", { controls: "", preload: "none", "data-key": "sound" });
  const seconds = `${(Math.round(model.get("seconds") * 10) / 10).toFixed(1)} seconds`;
  let held = null; // where to go on when the next sound is there
  audio.addEventListener("canplay", () => { if (held !== null) { audio.currentTime = held; held = null; } });
  const follow = () => {
    const { title, mp3 } = now(), source = "data:audio/mpeg;base64," + mp3, playing = !audio.paused && !audio.ended;
    words.textContent = `${title}, ${seconds}`;
    audio.setAttribute("aria-label", words.textContent);
    if (audio.getAttribute("src") === source) return;
    if (playing) held ??= audio.currentTime;
    audio.src = source;
    if (playing) audio.play().catch(() => {});
  };
  model.on("change:" + key, follow);
  follow();
  return make("div", { class: "cc-sound" }, words, audio);
}

"""The temperature figure: how speech went on, how a model lets it go on at each temperature, and how that sounds."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from causalcnn_book.explorer import Explorer, traitlets

if TYPE_CHECKING:
    from torch import Tensor

    from causalcnn.speech import Player

__all__ = ["TemperatureExplorer"]

MELS = 80
CONTROLS = {"sound": "sound", "temperature": "slider"}
READOUTS = ("step", "contrast", "level")


class TemperatureExplorer(Explorer):
    """A recording, and below it what a model wrote after its first frames, at a temperature that can be turned.

    The reader turns the temperature, sees what the model made of the same beginning, and hears it where there are
    sounds. Made by :meth:`of` from levels.

    :meth:`read` gives the ``temperature`` shown, and for what is ``written`` and for the ``speech`` three numbers in
    dB: ``step``, the root mean square of the change from frame to frame; ``contrast``, that of the distance of the
    bands from their frame's mean; ``level``, the standard deviation of the frames' means. Tests compare them with
    torch.

    Attributes:
        name: the figure's name in the page's address.
        temperature: which one is asked for, in hundredths; the nearest of ``temperatures`` is shown.
        temperatures: those at which continuations were drawn, in hundredths, rising.
        prompt: frames that were given, at least 1.
        levels: as base64, frame after frame from the low bands up: the prompt, its true continuation, then the
            continuation at each temperature.
        step_db: the width of a level, in dB.
        sounds: for each temperature an MP3 as base64; none: no player.
        seconds: how long each of the sounds is, in seconds.
        controls: controls on display, any of ``sound, temperature``; default: all.
        readouts: numbers on display, any of ``step, contrast, level``; default: all.
        url_keys: the traits that the page's address keeps.
        alt: what the picture shows, for readers who do not see it.

    Example:
        >>> import torch
        >>> from causalcnn_book.frame_generator import TemperatureExplorer
        >>> said = torch.randint(0, 256, (6, 80), generator=torch.Generator().manual_seed(0))
        >>> figure = TemperatureExplorer.of(said, {1.0: said[2:].flip(0)}, prompt=2, step_db=0.5)
        >>> step = 0.5 * said.double().diff(dim=0)[1:].square().mean().sqrt()
        >>> round(figure.read()["speech"]["step"], 6) == round(float(step), 6)
        True
    """

    _module: ClassVar[str] = "frame_generator/temperature_explorer"
    _controls: ClassVar[dict[str, str]] = CONTROLS
    _readouts: ClassVar[tuple[str, ...]] = READOUTS

    name = traitlets.Unicode("temperature").tag(sync=True)
    temperature = traitlets.Int(100).tag(sync=True)
    temperatures = traitlets.List(traitlets.Int(), [50, 100]).tag(sync=True)
    prompt = traitlets.Int(1, min=1).tag(sync=True)
    levels = traitlets.Unicode(base64.b64encode(bytes(4 * MELS)).decode()).tag(sync=True)
    step_db = traitlets.Float(0.35).tag(sync=True)
    sounds = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    seconds = traitlets.Float(0.0).tag(sync=True)
    controls = traitlets.List(traitlets.Unicode(), list(CONTROLS)).tag(sync=True)
    readouts = traitlets.List(traitlets.Unicode(), list(READOUTS)).tag(sync=True)
    url_keys = traitlets.List(traitlets.Unicode(), ["temperature"]).tag(sync=True)
    alt = traitlets.Unicode(
        "Two mel spectrograms that begin with the same given frames. The upper one goes on as it was said, the lower "
        "one as a model wrote it at the chosen temperature."
    ).tag(sync=True)

    @classmethod
    def of(
        cls,
        said: Tensor,
        written: Mapping[float, Tensor],
        *,
        prompt: int,
        step_db: float,
        sounds: Sequence[Player] = (),
        **state: Any,
    ) -> TemperatureExplorer:
        """Make the figure of one recording.

        Args:
            said: levels ``(frames, 80)`` of the recording, 0 … 255.
            written: temperature → levels ``(frames − prompt, 80)``, 0 … 255.
            prompt: how many of the recording's frames were given.
            step_db: the width of a level, in dB.
            sounds: players, one for each temperature, in rising order, or none.
            **state: traits of the figure, which come before those that are computed.

        Returns:
            The figure, without a player where there are no sounds.

        Raises:
            ValueError: shapes or sounds that do not belong together; a level outside 0 … 255.
        """
        frames = len(said) - prompt
        wrong = [t for t, levels in written.items() if tuple(levels.shape) != (frames, MELS)]
        if said.dim() != 2 or said.shape[1] != MELS or not written or wrong:
            shapes = {t: tuple(levels.shape) for t, levels in written.items()}
            raise ValueError(
                f"said has the shape {tuple(said.shape)}, {prompt} frames of it given; written {shapes}; "
                "they must be (frames, 80) and (frames − prompt, 80)"
            )
        if len(sounds) not in (0, len(written)):
            raise ValueError(
                f"there are {len(sounds)} sounds and {len(written)} temperatures; give one for each, or none"
            )
        order = sorted(written)
        data = [said.flatten().tolist(), *(written[t].flatten().tolist() for t in order)]
        return cls(
            **{
                "temperatures": [round(100 * t) for t in order],
                "prompt": prompt,
                "levels": base64.b64encode(b"".join(bytes(piece) for piece in data)).decode("ascii"),
                "step_db": step_db,
                "sounds": [base64.b64encode(sound.mp3).decode("ascii") for sound in sounds],
                "seconds": sounds[0].seconds if sounds else 0.0,
                "controls": [name for name in CONTROLS if sounds or name != "sound"],
            }
            | state
        )

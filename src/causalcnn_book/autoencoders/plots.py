"""The picture of rate and distortion: every coder, the divergence of the VAE, the yardstick, and the hull."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from causalcnn_book.autoencoders.pricing import SENT
from causalcnn_book.palette import LIGHT
from causalcnn_book.picture import Picture, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["rate_distortion_curves", "rate_distortion_points"]

STYLES: dict[str, tuple[str, str, str]] = {
    "Gaussian bound": ("future", ":", ""),
    "components": ("muted", "-", "s"),
    "autoencoder": ("speaker_b", "-", "o"),
    "VAE, rounded": ("past", "-", "o"),
    "VAE, a draw": ("past", "--", "x"),
    "codes": ("bottom", "-", "D"),
    "two levels": ("top", "", "D"),
    "codec, prior": ("top", "", "*"),
}
"""Series → colour, line and marker."""
SIZES = {"*": 10}
"""Of markers that are small for their size."""


def rate_distortion_points(table: Mapping[str, Any], name: str) -> dict[str, list[tuple[float, float, str]]]:
    """Read the series of the picture from the table of the experiment ``rate-distortion``.

    What is rounded or coded has the lowest rate at which it is sent frame by frame; a draw of a VAE has its divergence.

    Args:
        table: the table.
        name: of the set.

    Returns:
        Series → its points, the lowest rate first: bits per second, error in dB, and ``"row, label"``.

    Raises:
        KeyError: the table has no such set.
    """
    series: dict[str, list[tuple[float, float, str]]] = {each: [] for each in STYLES}
    for row, of_row in table["rows"].items():
        for label, of_point in of_row["points"].items():
            rates = {rate: found["mean"] for rate, found in of_point[name]["bits_per_second"].items()}
            if not rates or (row.startswith("vae") and label not in ("drawn", "rounded 1")):
                continue
            sent = [rates[rate] for rate in SENT if rate in rates]
            rate = min(sent) if sent else next(iter(rates.values()))
            series[_series(row, label)].append((rate, of_point[name]["rmse_db"]["mean"], f"{row}, {label}"))
    return {each: sorted(points) for each, points in series.items() if points}


def _series(row: str, label: str) -> str:
    if row.startswith("vae"):
        return "VAE, a draw" if label == "drawn" else "VAE, rounded"
    known = {"gaussian": "Gaussian bound", "pca": "components", "autoencoder": row, "vq 2 levels": "two levels",
             "codec": "codec, prior"}  # fmt: skip
    return known.get(row, "codes")


def rate_distortion_curves(
    table: Mapping[str, Any], name: str, *, alt: str, caption: str = "", height: int = 380
) -> Picture:
    """Draw the error of every coder against its rate, and the hull of those that can be sent frame by frame.

    Args:
        table: that of the experiment ``rate-distortion``.
        name: of the set.
        alt: what the picture shows, for readers who do not see it.
        caption: one sentence below the picture.
        height: CSS pixels.

    Returns:
        The picture, drawn for a page's column of text and for a phone.

    Raises:
        ImportError: matplotlib is not installed.
        KeyError: the table has no such set.
        ValueError: ``alt`` is empty.

    Example:
        >>> from causalcnn_book.autoencoders import rate_distortion_curves
        >>> point = {"rmse_db": {"mean": 2.0}, "bits_per_second": {"unigram": {"mean": 9000.0}}}
        >>> rows = {"vq 16": {"points": {"codes": {"embedded": point}}}}
        >>> table = {"rows": rows, "hull": {"embedded": {"sent": ["vq 16, codes"]}}}
        >>> rate_distortion_curves(table, "embedded", alt="Codes of 9,000 bits a second leave 2 dB.")
        <Picture: Codes of 9,000 bits a second leave 2 dB.>
    """
    series = rate_distortion_points(table, name)
    at = {label: (rate / 1000, error) for points in series.values() for rate, error, label in points}
    hull = [at[label] for label in table["hull"][name]["sent"] if label in at]

    def draw(figure: Figure, width: int) -> None:
        axes = figure.subplots()
        axes.plot(*zip(*hull, strict=True), color=LIGHT["grid"], linewidth=7, solid_capstyle="round", zorder=1)
        for each, points in series.items():
            color, line, marker = STYLES[each]
            rates, errors = [rate / 1000 for rate, _, _ in points], [error for _, error, _ in points]
            look: dict[str, Any] = {"marker": marker, "markersize": SIZES.get(marker, 5), "color": LIGHT[color]}
            axes.plot(rates, errors, line or " ", label=each, **look)
        axes.set(xscale="log", yscale="log", xlim=(0.4, 40), xlabel="kbit a second", ylabel="error, dB")
        for axis, ticks in ((axes.xaxis, (0.5, 1, 2, 5, 10, 20)), (axes.yaxis, (0.5, 1, 2, 4, 8, 16))):
            axis.set_major_locator(_fixed(ticks))
            axis.set_minor_locator(_fixed(()))
            axis.set_major_formatter("{x:g}")
        axes.grid(linewidth=0.8)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3 if width > 500 else 2, frameon=False,
                    labelcolor="linecolor", handlelength=2, borderpad=0.1)  # fmt: skip

    return show(draw, alt=alt, caption=caption, height=height)


def _fixed(ticks: tuple[float, ...]) -> Any:
    from matplotlib.ticker import FixedLocator

    return FixedLocator(ticks)

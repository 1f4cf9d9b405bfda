"""Figures whose text the font lacks."""

import warnings

import pytest
from matplotlib.figure import Figure
from PIL import Image

from tfssl.base.figures import save_figure


@pytest.mark.parametrize("text", ["🦊", "猫", "नमस्ते"])
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_no_warning_of_what_the_font_lacks_and_of_everything_else(tmp_path, text, ending):
    figure = Figure(figsize=(1, 1))
    figure.subplots().set_title(text)
    with pytest.warns(UserWarning, match="missing from font|does not support"):
        figure.savefig(tmp_path / f"warns.{ending}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, tmp_path / f"a.{ending}", dpi=50)
    if ending == "png":
        assert Image.open(tmp_path / "a.png").size == (50, 50)
    figure.draw = lambda *_: warnings.warn("another", UserWarning, stacklevel=1)
    with pytest.warns(UserWarning, match="another"):
        save_figure(figure, tmp_path / f"b.{ending}")

"""The settings of every model can be changed in one way, are checked each time, and cannot be moved."""

from __future__ import annotations

import dataclasses

import pytest

from causalcnn.models import MODELS, ModelConfig

TOGETHER = {"top_cells", "bottom_cells"}
"""Settings that are multiples of each other, so that they change together."""
CONFIGS = [pytest.param(model.Config, id=name) for name, model in MODELS.items()]


@pytest.mark.parametrize("config_class", CONFIGS)
def test_a_copy_has_one_other_setting_and_is_checked_again(config_class):
    config = config_class()
    assert isinstance(config, ModelConfig)
    assert config.with_() == config
    with pytest.raises(TypeError, match="no_such_setting"):
        config.with_(no_such_setting=1)
    integers = {field.name for field in dataclasses.fields(config) if type(getattr(config, field.name)) is int}
    assert integers
    for name in integers - {"condition_channels"}:  # a vocoder has as many as there are mel bands
        for wrong in (-8, 1.5, "2", None):
            with pytest.raises(ValueError, match=f"{name} is {wrong!r}; it must be an integer of at least"):
                config.with_(**{name: wrong})
        if name in TOGETHER and integers >= TOGETHER:
            other = {each: 2 * getattr(config, each) for each in TOGETHER}
        else:
            other = {name: getattr(config, name) + 8}  # still odd where it must be, and a multiple of 8
        changed = config.with_(**other)
        assert type(changed) is config_class
        assert dataclasses.asdict(changed) == dataclasses.asdict(config) | other


def test_a_config_cannot_be_moved():
    with pytest.raises(TypeError, match="non-frozen"):

        @dataclasses.dataclass
        class _Config(ModelConfig):
            layers: int = 2

from .condition_explorer import ConditionExplorer as ConditionExplorer
from .source_filter import filter_excitation as filter_excitation, pulses_or_noise as pulses_or_noise

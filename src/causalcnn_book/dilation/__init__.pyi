from . import experiment as experiment

from .phones_and_speakers import SETTINGS as SETTINGS, load as load, train as train

from .hierarchy_explorer import HierarchyExplorer as HierarchyExplorer
from .levels import influence as influence
from .plots import speech_codes as speech_codes, vqvae2_diagram as vqvae2_diagram

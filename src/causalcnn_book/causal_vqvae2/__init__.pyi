from .hierarchy import HierarchyExplorer as HierarchyExplorer
from .levels import influence as influence
from .wiring import speech_codes as speech_codes
from .wiring import vqvae2_diagram as vqvae2_diagram

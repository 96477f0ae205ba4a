from .cone import ConeExplorer as ConeExplorer

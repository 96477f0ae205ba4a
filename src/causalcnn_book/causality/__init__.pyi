from .cone_explorer import ConeExplorer as ConeExplorer

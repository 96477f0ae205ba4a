from .stack_explorer import StackExplorer as StackExplorer

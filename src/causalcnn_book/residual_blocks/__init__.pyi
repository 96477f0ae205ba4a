from .stack_explorer import Reading as Reading, StackExplorer as StackExplorer

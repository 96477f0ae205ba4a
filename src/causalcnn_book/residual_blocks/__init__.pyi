from .stacks import Reading as Reading
from .stacks import StackExplorer as StackExplorer

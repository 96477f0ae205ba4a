from .code_files import CodeFiles as CodeFiles
from .code_prior_explorer import CodePriorExplorer as CodePriorExplorer
from .count_models import CONTEXTS as CONTEXTS, CountModel as CountModel
from .file_explorer import FileExplorer as FileExplorer
from .free_running import FreeRuns as FreeRuns

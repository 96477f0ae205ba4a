from .codebook_explorer import CodebookExplorer as CodebookExplorer
from .collapse import frames_of_speech as frames_of_speech, learn as learn, score as score
from .plots import channel_diagram as channel_diagram

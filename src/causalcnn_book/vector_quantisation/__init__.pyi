from .channel_view import channel_diagram as channel_diagram
from .codebook import CodebookExplorer as CodebookExplorer
from .codebook_steps import POINTS as POINTS
from .collapse import frames_of_speech as frames_of_speech
from .collapse import learn as learn
from .collapse import score as score

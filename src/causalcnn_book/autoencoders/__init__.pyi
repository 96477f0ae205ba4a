from .distortions import KINDS as KINDS, distorted as distorted, error_db as error_db, strength as strength
from .equal_error import versions as versions
from .masking import masked_error_db as masked_error_db, masking_threshold as masking_threshold

"""Every drawn set by its name, whatever its kind: worlds, styled worlds, worlds in two modalities.

``world_spec.PRESETS`` holds the plain worlds alone; sets of faces, which are no worlds, stand in
``face_spec.FACE_PRESETS``.
"""

from person_search.synthetic.modality_spec import MODALITY_PRESETS
from person_search.synthetic.style_spec import STYLE_PRESETS
from person_search.synthetic.world_spec import PRESETS, WorldSpec

ALL_PRESETS: dict[str, WorldSpec] = {**PRESETS, **STYLE_PRESETS, **MODALITY_PRESETS}

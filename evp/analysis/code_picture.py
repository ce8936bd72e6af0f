"""Fig. 5 of the paper: emotion codes of clips in the plane of t-SNE, coloured by emotion.

t-SNE: van der Maaten and Hinton 2008, Visualizing Data using t-SNE, the paper's [27], by
scikit-learn. It keeps neighbours together; sizes of clusters and distances between them mean
nothing, which is why each panel has its silhouette above it.

Letters: N clips, D channels of a code.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from affekt.arrays import Array
from affekt.media.plots import clouds
from affekt.metrics.probes import principal_plane
from evp.analysis.code_figures import Labels

PERPLEXITY = 30.0  # scikit-learn's default, about how many neighbours a point has
START = 1e-4  # deviation of the first coordinates, as scikit-learn scales its principal components
SEED = 0


def embed(codes_ND: Array) -> Array:
    """Return codes in the plane, (N, 2), the same on every run.

    Starts from the principal plane; the perplexity is at most a third of the other points, so
    that few codes have a picture too. Codes that do not differ all lie at 0.

    Raises:
        ValueError: fewer than four codes.
    """
    if len(codes_ND) < 4:
        raise ValueError(f"t-SNE of {len(codes_ND)} codes: wanted at least 4")
    start = principal_plane(codes_ND)
    spread = start[:, 0].std()
    if spread == 0:
        return start
    perplexity = min(PERPLEXITY, (len(codes_ND) - 1) / 3)
    tsne = TSNE(
        perplexity=perplexity,
        init=(START / spread * start).astype(np.float32),
        random_state=SEED,
        n_jobs=1,
    )
    with threadpool_limits(1):  # sums of several threads differ in their last digits
        plane: Array = tsne.fit_transform(codes_ND.astype(np.float32))
    return plane


def draw(path: Path, panels: Mapping[str, Array], labels: Labels) -> None:
    """Write the picture: a panel of codes (N, D) under each title.

    Colours are emotions and marks are speakers; clips that no encoder learned from are outlined.
    """
    clips, unheard = len(labels.unheard), int(labels.unheard.sum())
    title = f"t-SNE of the emotion codes of {clips} clips"
    if unheard:
        title += f"; outlined: the {unheard} that no encoder learned from"
    planes = {name: embed(codes) for name, codes in panels.items()}
    clouds(path, planes, list(labels.emotion), list(labels.speaker), list(labels.unheard), title)

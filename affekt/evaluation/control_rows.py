"""The rows of every table that are no method's, and what takes a network: names, nothing else."""

RESULT, TRUTH = "result", "truth"
RE_ENCODED, LATE, FROZEN = "truth re-encoded", "truth one frame late", "frozen first frame"
OTHER, MEAN_FACE, FLOOR = "another speaker", "mean face", "detector floor"
CONTROLS = {  # in the order of a table: what each row is
    RE_ENCODED: "the truth compressed again (H.264 crf 23), as a perfect method would be",
    LATE: "the truth, each frame 40 ms later",
    FROZEN: "the truth's first frame, standing still",
    OTHER: "a true video of somebody else, started again where it is too short",
    MEAN_FACE: "the mean landmarks of all truths, standing still",
    FLOOR: "the truth's landmarks found again in a visually lossless copy (crf 18)",
}
# The metrics that each measure with a network gives: they compare between equal networks only.
NETWORK_METRICS = {
    "distribution": ("fid", "kid"),
    "sync": ("lse_c", "lse_d", "sync_offset"),
    "identity": ("csim",),
    "emotion": ("emotion_correct", "efd_proxy"),
}

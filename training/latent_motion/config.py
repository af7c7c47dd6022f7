"""The switches and sizes of a latent-motion model; every column of both papers' tables is a preset."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from como_ros.errors import ComoError
from policies.nets.encoder import TOKENS, WIDTH
from training.optimize import Schedule

INPUTS = ("difference", "pair", "rgb_difference", "future", "difference_alone")
BOTTLENECKS = ("continuous", "vq", "dual_vq")
TARGETS = ("pixels", "features")
MASKS = ("none", "flow", "precomputed", "sam2")
READERS = ("cross", "joint", "spacetime", "canonical")
FUSIONS = ("add", "tokens")
SWITCHES = {
    "input": INPUTS,
    "bottleneck": BOTTLENECKS,
    "target": TARGETS,
    "masks": MASKS,
    "reader": READERS,
    "fusion": FUSIONS,
}


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """How the latent-motion model is built and trained."""

    input: str = "difference"
    """What the reader sees: the first frame's tokens and the early `difference` (Td), the `pair` of both
    frames' tokens, the first frame's and the pixels' `rgb_difference`, the `future` frame's alone, or the
    `difference_alone`, without the first frame."""
    bottleneck: str = "continuous"
    """`continuous` numbers, words of one book (`vq`), or words of an action and a background book."""
    contrastive: bool = True
    """Tcl: a jittered later frame is the positive, the sample's own time reversal the negatives."""
    target: str = "pixels"
    """What is painted of the later frame."""
    masks: str = "none"
    """Where the masks come from that say which patches the action code must explain alone."""

    queries: int = 8
    """Of the motion; the background gets as many of its own with `dual_vq`."""
    code_dim: int = 16
    """Numbers a query."""
    codes: int = 16
    """Words in a book."""
    reader: str = "cross"
    """How queries read: `cross`-attention, `joint` self-attention with the tokens, or `spacetime` blocks;
    `canonical` directions of the difference alone are solved for before the painter is trained."""
    query_range: float = 0.0
    """How far apart the queries of a `cross` reader begin: evenly within plus and minus this, 1 as in MFLA.
    At 0 they begin nearly alike, and in a short training stay so: all of them say the same few numbers."""
    fusion: str = "add"
    """Motion is pooled and added to every patch (`add`), or stands as `tokens` beside them."""
    residual: bool = True
    """Paint the change rather than the whole frame."""
    width: int = 128
    heads: int = 4
    blocks: int = 3
    """Of the reader."""
    decoder_blocks: int = 2
    feed_factor: int = 2
    encoder: str = "lab"
    """The frozen encoder that these sizes are for."""
    tokens: int = TOKENS
    token_dim: int = WIDTH
    image_px: int = 128
    patch_px: int = 16
    """Side of a patch in the image; the patches tile it."""
    shrink: int = 2
    """The painted image is this many times smaller than the image."""

    gap_s: float = 0.5
    """Time between the two frames."""
    jitter_s: float = 0.1
    """Largest shift of the later frame that must not change the motion much."""
    contrast_weight: float = 0.004
    temperature: float = 0.1
    diversity_weight: float = 0.0
    """Against numbers of the motion that stand still or repeat each other; in neither paper."""
    agreement_weight: float = 0.0
    """For numbers that stay when the pair is shifted and recoloured anew and its later frame jitters, and do
    not repeat each other; in neither paper."""
    perceptual_weight: float = 0.0
    """For painted frames that the frozen encoder sees as it sees the true ones; needs pixels as target."""
    action_label_fraction: float = 0.0
    """Share of the robot episodes whose true motion a linear head must read from the latent one; none in
    either paper's own method."""
    action_weight: float = 1.0
    """Of that reading's error, in each axis' spread."""
    commitment: float = 0.25
    coverage: float = 0.47
    """A patch is foreground when more of it than this is masked."""
    restart_after: int = 20
    """Steps without use after which a code word starts anew from what the encoder says."""
    foreground_gain: float = 10.0
    """Extra weight of a pixel that changes fully between the two frames."""
    video_share: float = 0.5
    """Share of a batch drawn from clips rather than from robot episodes."""
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=900, batch=64, learning_rate=5e-4))
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in SWITCHES.items():
            if getattr(self, name) not in known:
                raise ComoError(f"{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}")
        if self.gap_s <= self.jitter_s:
            raise ComoError(f"gap_s {self.gap_s} must exceed jitter_s {self.jitter_s}")
        if self.reader == "canonical" and (self.input, self.bottleneck) != ("difference_alone", "continuous"):
            raise ComoError("a canonical reader sees the difference_alone and its numbers are continuous")
        if self.perceptual_weight and self.target != "pixels":
            raise ComoError(f"perceptual_weight {self.perceptual_weight} needs pixels as target")
        if not 0 <= self.action_label_fraction <= 1:
            raise ComoError(f"action_label_fraction must be from 0 to 1, got {self.action_label_fraction}")
        if self.masks != "none" and self.bottleneck != "dual_vq":
            raise ComoError(f"masks {self.masks!r} part an action from a background code; set dual_vq")

    @property
    def dim(self) -> int:
        """Numbers in a latent motion."""
        return self.queries * self.code_dim

    @property
    def grid(self) -> int:
        return self.image_px // self.patch_px

    @property
    def patches(self) -> int:
        return self.grid**2

    @property
    def patch_dim(self) -> int:
        return 3 * (self.patch_px // self.shrink) ** 2


LAB = MotionConfig()
DUAL: dict[str, Any] = {
    "bottleneck": "dual_vq",
    "contrastive": False,
    "target": "features",
    "queries": 4,
    "code_dim": 32,
    "codes": 16,
    "fusion": "tokens",
    "foreground_gain": 0.0,
}
"""Four tokens of 16 words, as MFLA, which makes 65,536 if no query repeats another (see `query_range`); 32
numbers a word, so that a motion has 128."""
SMALL = replace(LAB, blocks=2, decoder_blocks=1, schedule=Schedule(steps=400, batch=64, learning_rate=1e-3))
PLAIN = replace(SMALL, input="pair", contrastive=False)
HEAVY = 0.01
"""Weight of contrast as the shipped policy's labels were made; the paper's 0.004 is for many more steps."""
ONE_SECOND: dict[str, Any] = {"gap_s": 1.0, "jitter_s": 0.2}

ABLATION = {
    "future_feature": replace(PLAIN, input="future"),
    "discrete": replace(PLAIN, bottleneck="vq", codes=128),
    "continuous": PLAIN,
    "td": replace(PLAIN, input="difference"),
    "tcl": replace(PLAIN, contrastive=True),
    "td_tcl": SMALL,
    "dual": replace(PLAIN, **DUAL),
    "masked_dual": replace(PLAIN, **DUAL, masks="flow"),
    "rgb_diff": replace(PLAIN, input="rgb_difference"),
    "td_discrete": replace(PLAIN, input="difference", bottleneck="vq", codes=128),
    "td_tcl_16": replace(SMALL, code_dim=2),
    "td_tcl_256": replace(SMALL, code_dim=32),
    "td_tcl_512": replace(SMALL, code_dim=64),
    "tcl_heavy": replace(PLAIN, contrastive=True, contrast_weight=HEAVY),
    "td_tcl_heavy": replace(SMALL, contrast_weight=HEAVY),
    "td_tcl_diverse": replace(SMALL, diversity_weight=0.04),
    "td_tcl_one_second": replace(SMALL, **ONE_SECOND),
    "td_agreement_one_second": replace(PLAIN, input="difference", **ONE_SECOND, agreement_weight=1.0),
    "canonical_reader_one_second": replace(PLAIN, input="difference_alone", reader="canonical", **ONE_SECOND),
    "td_tcl_one_second_labels_10": replace(SMALL, **ONE_SECOND, action_label_fraction=0.1),
    "td_tcl_one_second_labels_100": replace(SMALL, **ONE_SECOND, action_label_fraction=1.0),
    "td_tcl_one_second_hands": replace(SMALL, **ONE_SECOND, video_share=1.0),
    "td_tcl_one_second_hands_apart": replace(SMALL, **ONE_SECOND, video_share=1.0, query_range=1.0),
    "td_tcl_one_second_robots": replace(SMALL, **ONE_SECOND, video_share=0.0),
    "td_tcl_perceptual": replace(SMALL, perceptual_weight=0.1),
    "td_tcl_features": replace(SMALL, target="features", foreground_gain=0.0),
    "masked_dual_one_second": replace(PLAIN, **DUAL, masks="flow", **ONE_SECOND),
    "td_dual": replace(SMALL, **DUAL),
    "td_masked_dual": replace(SMALL, **DUAL, masks="flow"),
}
"""Both papers' ablation columns, and the crossings of the two that they leave out; small and short."""
COLUMNS = tuple(ABLATION)[:8]
"""The columns of the two papers' own tables, in their order."""

PAPER_SIZES: dict[str, Any] = {"width": 768, "heads": 12, "feed_factor": 4, "residual": False, "shrink": 1}
PRESETS = {
    "debug": replace(LAB, width=32, blocks=1, decoder_blocks=1, schedule=Schedule(steps=2, batch=4)),
    "lab": replace(LAB, contrast_weight=HEAVY),
    "paper": replace(
        LAB,
        **PAPER_SIZES,
        encoder="mae-large",
        tokens=197,
        token_dim=1024,
        image_px=224,
        reader="joint",
        blocks=4,
        decoder_blocks=12,
        foreground_gain=0.0,
        schedule=Schedule(batch=256, learning_rate=1e-4),
    ),
    "paper_masked": replace(
        LAB,
        **(DUAL | PAPER_SIZES | {"code_dim": 128}),
        input="pair",
        masks="precomputed",
        encoder="dinov2-base",
        tokens=256,
        token_dim=768,
        image_px=224,
        patch_px=14,
        reader="spacetime",
        blocks=12,
        decoder_blocks=12,
        gap_s=1.0,
        schedule=Schedule(steps=15_000, batch=128, learning_rate=1e-4, weight_decay=1e-2, clip_norm=0.1),
    ),
    **ABLATION,
}


def preset(config: MotionConfig | str) -> MotionConfig:
    """A config as it is, or the one of that name."""
    if isinstance(config, MotionConfig):
        return config
    if config not in PRESETS:
        raise ComoError(f"no preset {config!r}; known: {', '.join(PRESETS)}")
    return PRESETS[config]

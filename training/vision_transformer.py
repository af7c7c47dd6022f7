"""Published vision transformers as frozen encoders: MAE, DINOv2 and SigLIP, from the files they come as.

A folder holds `config.json` and `model.safetensors` as downloaded from the model hub. Patches keep their
order: the reference code of CoMo ran MAE through a library that shuffles them on every call, even when none
is hidden, so that differences of two frames compared unlike places.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from como_ros.errors import ComoError

WEIGHTS = "model.safetensors"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a vision transformer, and how its family differs from the others."""

    width: int
    blocks: int
    heads: int
    hidden: int
    """Of the feed-forward part."""
    patch_px: int
    image_px: int = 224
    """What images are resized to."""
    trained_px: int = 224
    """What its table of places was made for."""
    registers: int = 0
    class_token: bool = True
    keeps_class: bool = True
    """Give the class token out, first; registers never are."""
    scaled: bool = False
    """Each part of a block has a learned scale."""
    tanh_gelu: bool = False
    epsilon: float = 1e-6
    normal: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET


MAE_LARGE = Shape(width=1024, blocks=24, heads=16, hidden=4096, patch_px=16, epsilon=1e-12)
DINOV2_BASE = Shape(
    width=768,
    blocks=12,
    heads=12,
    hidden=3072,
    patch_px=14,
    trained_px=518,
    registers=4,
    keeps_class=False,
    scaled=True,
)
NAMED = {"mae-large": MAE_LARGE, "dinov2-base": DINOV2_BASE}
"""The papers' encoders."""
FAMILIES: dict[str, dict[str, Any]] = {
    "vit_mae": {},
    "dinov2": {"scaled": True, "keeps_class": False},
    "dinov2_with_registers": {"scaled": True, "keeps_class": False},
    "siglip_vision_model": {"class_token": False, "tanh_gelu": True, "normal": HALVES},
    "siglip": {"class_token": False, "tanh_gelu": True, "normal": HALVES},
}
UNSAID = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "patch_size": 16,
    "image_size": 224,
}
"""What published configs leave out where it is a base model's."""
RENAMED = (
    (r"^(vit|dinov2|dinov2_with_registers|vision_model)\.", ""),
    (r"^embeddings\.(cls_token|register_tokens)$", r"\1"),
    (r"^embeddings\.position_embeddings?(\.weight)?$", "place"),
    (r"^embeddings\.patch_embedding(s\.projection)?\.", "patch."),
    (r"^encoder\.layers?\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.attention\.", "."),
    (r"\.self_attn\.(query|key|value|q|k|v)(_proj)?\.", r".\1."),
    (r"\.(query|q)\.", ".query."),
    (r"\.(key|k)\.", ".key."),
    (r"\.(value|v)\.", ".value."),
    (r"\.(attention\.output\.dense|self_attn\.out_proj)\.", ".out."),
    (r"\.(layernorm_before|norm1|layer_norm1)\.", ".norm_before."),
    (r"\.(layernorm_after|norm2|layer_norm2)\.", ".norm_after."),
    (r"\.(intermediate\.dense|mlp\.fc1)\.", ".wide."),
    (r"\.(output\.dense|mlp\.fc2)\.", ".narrow."),
    (r"\.layer_scale1\.lambda1$", ".scale_before"),
    (r"\.layer_scale2\.lambda1$", ".scale_after"),
    (r"^(layernorm|post_layernorm)\.", "norm."),
)
"""From the names in published files to the ones here, in this order."""


class VisionBlock(nn.Module):
    """Pre-norm attention and feed-forward, each scaled where the family does."""

    def __init__(self, shape: Shape):
        super().__init__()
        width = shape.width
        self.heads, self.tanh = shape.heads, "tanh" if shape.tanh_gelu else "none"
        self.norm_before = nn.LayerNorm(width, eps=shape.epsilon)
        self.norm_after = nn.LayerNorm(width, eps=shape.epsilon)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, shape.hidden), nn.Linear(shape.hidden, width)
        self.scale_before = nn.Parameter(torch.ones(width)) if shape.scaled else None
        self.scale_after = nn.Parameter(torch.ones(width)) if shape.scaled else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm_before(x)
        parts = (
            p(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.query, self.key, self.value)
        )
        y = self.out(nn.functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        x = x + (y if self.scale_before is None else y * self.scale_before)
        y = self.narrow(nn.functional.gelu(self.wide(self.norm_after(x)), approximate=self.tanh))
        return x + (y if self.scale_after is None else y * self.scale_after)


class VisionTransformer(nn.Module):
    """(B, h, w, 3) uint8 RGB -> (B, N, width): the class token where it is kept, then patches row by row."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        width, places = shape.width, (shape.trained_px // shape.patch_px) ** 2 + shape.class_token
        self.patch = nn.Conv2d(3, width, shape.patch_px, shape.patch_px)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if shape.class_token else None
        self.register_tokens = (
            nn.Parameter(torch.zeros(1, shape.registers, width)) if shape.registers else None
        )
        self.place = nn.Parameter(torch.randn(1, places, width) * 0.02)
        self.blocks = nn.ModuleList([VisionBlock(shape) for _ in range(shape.blocks)])
        self.norm = nn.LayerNorm(width, eps=shape.epsilon)
        mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) * 255 for v in shape.normal)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.patch(self._prepared(images)).flatten(2).transpose(1, 2) + self._patch_places()
        first = 0
        if self.cls_token is not None:
            front = [self.cls_token + self.place[:, :1]]
            front += [] if self.register_tokens is None else [self.register_tokens]
            head = torch.cat(front, 1).expand(len(x), -1, -1)
            x, first = torch.cat([head, x], 1), head.shape[1]
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return torch.cat([x[:, :1], x[:, first:]], 1) if first and self.shape.keeps_class else x[:, first:]

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        size = (self.shape.image_px, self.shape.image_px)
        x = images.float().permute(0, 3, 1, 2)
        if x.shape[2:] != size:
            x = nn.functional.interpolate(x, size, mode="bilinear", antialias=True)
        return (x - self.mean) / self.deviation

    def _patch_places(self) -> torch.Tensor:
        """The table of places, stretched to the images' grid."""
        shape = self.shape
        table, had, has = self.place[:, shape.class_token :], shape.trained_px, shape.image_px
        if had == has:
            return table
        old, new = had // shape.patch_px, has // shape.patch_px
        grid = table.view(1, old, old, -1).permute(0, 3, 1, 2)
        smooth = shape.registers > 0  # as those with registers were trained
        stretched = nn.functional.interpolate(grid, (new, new), mode="bicubic", antialias=smooth)
        return stretched.flatten(2).transpose(1, 2)


def is_published(folder: Path) -> bool:
    """Whether a folder holds a model as published, not an encoder of ours."""
    path = Path(folder) / "config.json"
    try:
        return path.is_file() and "model_type" in json.loads(path.read_text())
    except ValueError:  # damaged, whichever it was; who reads ours says so
        return False


def load_published(folder: Path, image_px: int = 224) -> VisionTransformer:
    """The frozen encoder in a folder; what of the file belongs to other parts of its model is left."""
    shape = replace(_shape_of(json.loads((folder / "config.json").read_text()), folder), image_px=image_px)
    if not (folder / WEIGHTS).is_file():
        raise ComoError(f"{folder} has no {WEIGHTS}; download the whole model there")
    try:
        raw = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ComoError(f"{folder / WEIGHTS} is not a safetensors file: {error}") from error
    net = VisionTransformer(shape)
    wanted, found = net.state_dict(), {renamed(name): value for name, value in raw.items()}
    if missing := sorted(set(wanted) - set(found)):
        raise ComoError(f"{folder / WEIGHTS} lacks {missing[0]} and {len(missing) - 1} more of this model")
    net.load_state_dict({name: found[name].view(like.shape) for name, like in wanted.items()})
    return net.eval().requires_grad_(False)


def renamed(name: str) -> str:
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _shape_of(raw: dict[str, Any], folder: Path) -> Shape:
    family = raw["model_type"]
    if family not in FAMILIES:
        raise ComoError(f"{folder} holds a {family!r}; known: {', '.join(FAMILIES)}")
    raw = UNSAID | (raw.get("vision_config", raw) if family == "siglip" else raw)
    width = raw["hidden_size"]
    return Shape(
        width=width,
        blocks=raw["num_hidden_layers"],
        heads=raw["num_attention_heads"],
        hidden=raw.get("intermediate_size", width * raw.get("mlp_ratio", 4)),
        patch_px=raw["patch_size"],
        trained_px=raw["image_size"],
        registers=raw.get("num_register_tokens", 0) if family == "dinov2_with_registers" else 0,
        epsilon=raw.get("layer_norm_eps", 1e-6),
        **FAMILIES[family],
    )

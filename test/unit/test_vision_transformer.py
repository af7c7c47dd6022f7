"""Published encoders: read from the files they come as, every patch in its place; and the papers' sizes."""

import json
import math
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from como_ros.errors import ComoError
from policies.spaces import Contract
from training.features import Augmentation
from training.latent_motion.config import PRESETS
from training.latent_motion.data import MotionData, patches_and_coverage
from training.latent_motion.model import MotionTraining
from training.latent_motion.net import MotionNet
from training.motion_data import ENCODER, keep_encoder, open_encoder
from training.optimize import Schedule, Trainer
from training.vision_transformer import NAMED, VisionTransformer, load_published

SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}
OTHERS = {
    "vit_mae": {"intermediate_size": 16, "layer_norm_eps": 1e-12},
    "dinov2": {"mlp_ratio": 2},
    "dinov2_with_registers": {"mlp_ratio": 2, "num_register_tokens": 2},
    "siglip_vision_model": {"intermediate_size": 16},
}
TOLD = {
    "vit_mae": [0.10125, 0.66646, -0.319, -0.1051, -0.25927],
    "dinov2": [0.08573, 0.59069, -0.37622, -0.08652, -0.27982],
    "dinov2_with_registers": [0.08578, 0.59073, -0.37628, -0.08656, -0.27983],
    "siglip_vision_model": [0.50747, 0.04497, -0.13161, -0.40886, 0.15658],
}
"""The last token of the second image, as transformers 5.23 gives it (MAE with its shuffle switched off)."""
ATTENTION = {
    "siglip_vision_model": ("self_attn.{}_proj", ("q", "k", "v"), "self_attn.out_proj"),
}
BLOCK = {
    "vit_mae": (
        "encoder.layer.0.",
        "layernorm_before",
        "layernorm_after",
        "intermediate.dense",
        "output.dense",
    ),
    "dinov2": ("encoder.layer.0.", "norm1", "norm2", "mlp.fc1", "mlp.fc2"),
    "siglip_vision_model": ("encoder.layers.0.", "layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"),
}


def published_shapes(family: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a published file of one small block."""
    siglip, dino = family == "siglip_vision_model", family.startswith("dinov2")
    block, before, after, wide, narrow = BLOCK["dinov2" if dino else family]
    pattern, names, out = ATTENTION.get(
        family, ("attention.attention.{}", ("query", "key", "value"), "attention.output.dense")
    )
    layers = {block + pattern.format(name): (8, 8) for name in names} | {block + out: (8, 8)}
    layers |= {block + wide: (16, 8), block + narrow: (8, 16), block + before: (8,), block + after: (8,)}
    layers["post_layernorm" if siglip else "layernorm"] = (8,)
    layers["embeddings.patch_embedding" + ("" if siglip else "s.projection")] = (8, 3, 16, 16)
    shapes = {f"{name}.weight": shape for name, shape in layers.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in layers.items()}
    if siglip:
        return shapes | {"embeddings.position_embedding.weight": (4, 8), "head.probe": (1, 1, 8)}
    shapes |= {"embeddings.cls_token": (1, 1, 8), "embeddings.position_embeddings": (1, 5, 8)}
    if dino:
        shapes |= {f"{block}layer_scale{i}.lambda1": (8,) for i in (1, 2)} | {"embeddings.mask_token": (1, 8)}
    if family == "dinov2_with_registers":
        shapes["embeddings.register_tokens"] = (1, 2, 8)
    return shapes


def filled(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    numbers = torch.arange(math.prod(shape)) * 0.7 + zlib.crc32(name.encode()) % 97
    return (torch.sin(numbers) * 0.3).view(shape)


def publish(folder, family):
    folder.mkdir(exist_ok=True)
    weights = {name: filled(name, shape) for name, shape in published_shapes(family).items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": family, **SIZES, **OTHERS[family]}))
    return folder


def pictures() -> torch.Tensor:
    return (torch.arange(2 * 32 * 32 * 3) % 251).view(2, 32, 32, 3).to(torch.uint8)


@pytest.mark.parametrize("family", OTHERS)
def test_a_published_encoder_says_what_its_own_library_says(family, tmp_path):
    tokens = load_published(publish(tmp_path, family), image_px=32)(pictures())
    assert tokens.shape == (2, 5 if family == "vit_mae" else 4, 8)
    assert torch.allclose(tokens[1, -1, :5], torch.tensor(TOLD[family]), atol=2e-5)


@pytest.mark.parametrize("family", OTHERS)
def test_patches_are_never_shuffled(family, tmp_path):
    """Identical frames differ by nothing, and a change stays in its place."""
    net = load_published(publish(tmp_path, family), image_px=32)
    image = pictures()[:1]
    assert torch.equal(net(image), net(image))
    other = image.clone()
    other[:, 16:, :16] = 255 - other[:, 16:, :16]
    moved = (net(other) - net(image)).norm(dim=-1)[0, -4:]
    assert moved.argmax() == 2


def test_what_is_no_known_model_is_refused(tmp_path):
    folder = publish(tmp_path / "a", "vit_mae")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "resnet"}))
    with pytest.raises(ComoError, match="holds a 'resnet'; known: vit_mae"):
        load_published(folder)
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    with pytest.raises(ComoError, match=r"lacks blocks\.1"):
        load_published(folder)


def test_a_published_encoder_stands_where_the_lab_s_own_does(tmp_path):
    folder = publish(tmp_path / "encoder", "vit_mae")
    frozen = open_encoder(folder)
    assert frozen.contract == Contract()
    images = np.zeros((3, 128, 128, 3), np.uint8)
    assert frozen.tokens(images, Augmentation(copies=1)).shape == (1, 3, 197, 8)
    keep_encoder(folder, tmp_path / "model")
    assert open_encoder(tmp_path / "model" / ENCODER).sha256 == frozen.sha256


@pytest.mark.parametrize(
    ("name", "encoder_millions", "model_millions"), [("paper", 303, 121), ("paper_masked", 87, 202)]
)
def test_the_papers_sizes_are_the_papers(name, encoder_millions, model_millions):
    with torch.device("meta"):
        built = (VisionTransformer(NAMED[PRESETS[name].encoder]), MotionNet(PRESETS[name]))
    found = [round(sum(p.numel() for p in net.parameters()) / 1e6) for net in built]
    assert found == [encoder_millions, model_millions]


@pytest.mark.parametrize("name", ["paper", "paper_masked"])
def test_the_papers_widths_take_a_step(name):
    """Random weights, every width and token of the papers, one block a stack: the whole takes minutes."""
    few = {"blocks": 1, "decoder_blocks": 1, "gap_s": 0.2, "jitter_s": 0.1}
    config = replace(PRESETS[name], schedule=Schedule(steps=1, batch=1), **few)
    encoder = VisionTransformer(replace(NAMED[config.encoder], blocks=1)).eval()
    images = np.random.default_rng(0).integers(0, 255, (4, 128, 128, 3), dtype=np.uint8)
    with torch.no_grad():
        tokens = encoder(torch.from_numpy(images)).numpy().astype(np.float16)[None]
    assert tokens.shape == (1, 4, config.tokens, config.token_dim)
    masks, groups = images[..., 0], np.zeros(4, int)
    patches, coverage = patches_and_coverage(images, masks, Augmentation(copies=1), groups, config)
    training = MotionTraining(config, MotionData(tokens, patches, groups, 0, 10.0, coverage))
    trainer = Trainer(training, config.schedule)
    before = training.net.painter.canvas.weight.detach().clone()
    assert math.isfinite(trainer.advance(training.loss))
    assert not torch.equal(before, training.net.painter.canvas.weight)

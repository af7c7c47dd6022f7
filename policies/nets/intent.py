"""The intent head: one look at the front camera and the instruction gives K tokens of intent.

K learned queries stand at the end of the prompt; one pass yields K hidden states, which the expert
reads, and from each of them a K-th of the standardised latent motion of the next gap, which is what
it is trained on. There is no token-by-token decoding.
"""

from __future__ import annotations

import torch
from torch import nn

from policies.nets.attention import Block, embedding
from policies.nets.encoder import TOKENS, WIDTH
from policies.spaces import INSTRUCTION_BYTES, INTENT_TOKENS, MOTION_DIM

BYTE_WIDTH = 32
TEXT_STRIDE = 4
TEXT_TOKENS = INSTRUCTION_BYTES // TEXT_STRIDE


class IntentNet(nn.Module):
    """Front tokens (B, 64, 128) and text (B, 64) int64 -> hidden (B, K, 128), motion (B, Z)."""

    def __init__(self, blocks: int = 2, heads: int = 4):
        super().__init__()
        self.image = nn.Linear(WIDTH, WIDTH)
        self.image_place = embedding(TOKENS, WIDTH)
        self.bytes = nn.Embedding(257, BYTE_WIDTH)
        self.text = nn.Conv1d(
            BYTE_WIDTH, WIDTH, 2 * TEXT_STRIDE, stride=TEXT_STRIDE, padding=TEXT_STRIDE // 2
        )
        self.text_place = embedding(TEXT_TOKENS, WIDTH)
        self.queries = embedding(INTENT_TOKENS, WIDTH)
        self.blocks = nn.ModuleList([Block(WIDTH, heads) for _ in range(blocks)])
        self.norm = nn.LayerNorm(WIDTH)
        self.motion = nn.Linear(WIDTH, MOTION_DIM // INTENT_TOKENS)

    def forward(self, front: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        image = self.image(front) + self.image_place
        words = self.text(self.bytes(text).transpose(1, 2)).transpose(1, 2) + self.text_place
        x = torch.cat([image, words, self.queries.expand(front.shape[0], -1, -1)], 1)
        for block in self.blocks:
            x = block(x)
        hidden = self.norm(x[:, -INTENT_TOKENS:])
        return hidden, self.motion(hidden).flatten(1)

"""The intent head and the flow-matching expert: shapes, prefixes, losses, null tokens."""

import pytest
import torch

from policies.nets.expert import MOTION, ROBOT, ExpertNet, draw_prefixes, flow_loss, sample
from policies.nets.intent import IntentNet
from policies.spaces import instruction_bytes

H = 6


def small_expert(awake: bool = True) -> ExpertNet:
    torch.manual_seed(0)
    expert = ExpertNet(H, width=20, blocks=2)
    if awake:
        for parameter in expert.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return expert


def seen(batch: int):
    g = torch.Generator().manual_seed(1)
    return [torch.randn(batch, *shape, generator=g) for shape in ((64, 128), (64, 128), (4, 128), (17,))]


def test_the_intent_head_reads_image_and_text_in_one_pass():
    net = IntentNet(blocks=1).eval()
    front = torch.randn(2, 64, 128)
    texts = [
        torch.from_numpy(instruction_bytes(t))[None].expand(2, -1)
        for t in ("pick the cube", "open the drawer")
    ]
    hidden, foreseen = net(front, texts[0])
    assert hidden.shape == (2, 4, 128)
    assert foreseen.shape == (2, 128)
    assert not torch.allclose(hidden, net(front, texts[1])[0])


def test_an_untrained_expert_predicts_no_velocity():
    expert = small_expert(awake=False)
    x = torch.randn(2, 3, H, 10)
    clean = torch.zeros(2, 3, H, dtype=torch.bool)
    assert not expert.velocity(ROBOT, x, torch.rand(2, 3), clean, expert.context(*seen(2))).any()


def test_committed_actions_come_back_unchanged_and_change_the_rest():
    expert, context = small_expert(), None
    context = expert.context(*seen(1))
    noise, prefix = torch.randn(1, H, 10), torch.randn(1, H, 10)
    clean = torch.tensor([[True, True, False, False, False, False]])
    with_prefix = sample(expert, noise, prefix, clean, context, 4)
    without = sample(expert, noise, prefix, torch.zeros_like(clean), context, 4)
    assert torch.equal(with_prefix[:, :2], prefix[:, :2])
    assert not torch.allclose(with_prefix[:, 2:], without[:, 2:])


class Remembering(ExpertNet):
    """Keeps the velocities of its last call, so that a test can look at their gradient."""

    def velocity(self, *args):
        self.last = super().velocity(*args)
        self.last.retain_grad()
        return self.last


def remembered_gradient(clean: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    expert = Remembering(H, width=20, blocks=1)
    context = expert.context(*seen(2))
    data = torch.randn(2, H, 10)
    flow_loss(expert, ROBOT, data, clean, context, weights, torch.Generator().manual_seed(0)).backward()
    assert expert.last.grad is not None
    return expert.last.grad


def test_the_loss_ignores_the_prefix():
    clean = torch.zeros(2, 1, H, dtype=torch.bool)
    clean[..., :3] = True
    gradient = remembered_gradient(clean, torch.ones(10))
    assert not gradient[:, :, :3].any()
    assert gradient[:, :, 3:].all()


def test_weights_choose_which_numbers_count():
    weights = torch.zeros(10)
    weights[9] = 1
    gradient = remembered_gradient(torch.zeros(2, 1, H, dtype=torch.bool), weights)
    assert not gradient[..., :9].any()
    assert gradient[..., 9].all()


def test_prefixes_have_the_lengths_asked_for():
    clean = draw_prefixes(200, 2, H, 4, 0.5, torch.Generator().manual_seed(0))
    lengths = clean.sum(-1)
    assert clean.shape == (200, 2, H)
    assert int(lengths.max()) == 4
    assert 0.5 < float((lengths == 0).float().mean()) < 0.7
    assert torch.equal(clean, torch.arange(H) < lengths.unsqueeze(-1))


def test_video_without_wrist_and_state_goes_through_the_same_trunk():
    expert = small_expert()
    front, _, intent, _ = seen(2)
    context = expert.context(front, None, intent, None)
    clean = torch.zeros(2, 2, H, dtype=torch.bool)
    data = torch.randn(2, H, 128)
    loss = flow_loss(expert, MOTION, data, clean, context, torch.ones(1), torch.Generator().manual_seed(0))
    loss.backward()
    assert expert.no_wrist.grad is not None
    assert expert.outputs[MOTION].weight.grad is not None
    assert expert.outputs[ROBOT].weight.grad is None


def test_a_dropped_state_is_not_read():
    expert = small_expert()
    front, wrist, intent, state = seen(2)
    keep = torch.tensor([False, True]).view(2, 1, 1)
    a = expert.context(front, wrist, intent, state, keep_state=keep)
    b = expert.context(front, wrist, intent, state + 1, keep_state=keep)
    assert torch.equal(a[0][0][0], b[0][0][0])
    assert not torch.equal(a[0][0][1], b[0][0][1])


@pytest.mark.parametrize("draws", [1, 3])
def test_draws_of_one_observation_do_not_see_each_other(draws):
    expert = small_expert().eval()
    context = expert.context(*seen(1))
    x, time = torch.randn(1, draws, H, 10), torch.rand(1, draws)
    clean = torch.zeros(1, draws, H, dtype=torch.bool)
    together = expert.velocity(ROBOT, x, time, clean, context)
    alone = expert.velocity(ROBOT, x[:, :1], time[:, :1], clean[:, :1], context)
    assert torch.allclose(together[:, :1], alone, atol=1e-5)

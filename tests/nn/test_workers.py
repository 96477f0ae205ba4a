"""Threads that share work: the same results in the same order, in the mode of who asks, also after a fork."""

import os
import threading

import pytest
import torch

from causalcnn import VectorQuantizer
from causalcnn.nn import workers
from causalcnn.nn.lookup import nearest_reference


@pytest.fixture(autouse=True)
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_and_each_thread_runs_alone():
    def call(number):
        return number, torch.get_num_threads(), torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    assert workers.share(call, range(50), 2) == [(number, 1, False, False) for number in range(50)]
    with torch.inference_mode():
        assert workers.share(call, [0], 2) == [(0, 1, False, True)]
    assert torch.get_num_threads() == 2
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]


def test_an_error_in_a_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        workers.share(lambda number: 1 / number, [1, 0], 2)


@pytest.mark.parametrize("shape", [(1, 8, 3000), (5, 8, 300, 3), (700, 8, 1)])
def test_a_lookup_on_two_threads_is_that_on_one(shape):
    torch.manual_seed(0)
    x, mask = torch.randn(shape, dtype=torch.float64), torch.rand(shape[0], shape[2]) < 0.8
    rows = x.movedim(1, -1).reshape(-1, 8)
    got = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        layer, leaf = VectorQuantizer(64, 8, init="random").double().train(), x.clone().requires_grad_()
        words = layer.codebook.clone()
        found = layer.quantize(leaf, mask)
        (found.values.square().sum() + found.commitment).backward()
        assert torch.equal(found.indices.flatten(), nearest_reference(rows, words))
        got.append((found.values.detach(), found.commitment.detach(), leaf.grad, layer.count, layer.sum))
    torch.testing.assert_close(got[0], got[1], rtol=1e-12, atol=1e-12)
    assert all(torch.equal(a, b) for a, b in zip(got[1], got[2], strict=True))  # whichever thread was faster
    with torch.inference_mode():
        assert torch.equal(layer.eval().encode(x).flatten(), nearest_reference(rows, layer.codebook))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    workers.share(abs, [1, 2], 2)
    child = os.fork()
    if child == 0:
        os._exit(workers.share(abs, [-3, -4], 2) != [3, 4])
    assert os.waitpid(child, 0)[1] == 0

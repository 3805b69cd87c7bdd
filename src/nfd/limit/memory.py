"""How much memory a simulation of the limit needs, known in advance (no torch)."""

from nfd.limit.problem import LimitProblem


def memory_bytes(problem: LimitProblem, particles: int, itemsize: int = 4) -> int:
    """Memory in bytes that simulating ``problem`` takes, apart from torch itself (about 0.4 GB).

    ``itemsize``: bytes of a number, 4 or 8.
    """
    steps = range(problem.steps + 1)
    forward = sum(len(problem.forward_ids(step)) for step in steps)
    backward = [len(problem.backward_ids(step)) for step in steps]
    return limit_bytes(
        particles,
        depth=problem.depth,
        forward_vectors=forward,
        backward_vectors=sum(backward),
        block=max(len(problem.forward_ids(step)) for step in steps),
        block_layers=problem.block_layers,
        itemsize=itemsize,
    )


def limit_bytes(
    particles: int,
    *,
    depth: int,
    forward_vectors: int,
    backward_vectors: int,
    block: int,
    block_layers: int = 1,
    itemsize: int = 4,
) -> int:
    """Memory in bytes of :func:`nfd.limit.simulate.simulate_limit`, the libraries (about 0.4 GB) not counted.

    ``forward_vectors``: samples passed forward, summed over the K + 1 evaluations; ``backward_vectors``
    the same backward; ``block``: the most samples passed forward at once.
    """
    vectors = min(forward_vectors, particles) + min(backward_vectors, particles)
    # Two arrays per side and matrix; slopes (at most one block per layer); two dozen blocks in work.
    arrays = depth * (2 * block_layers * vectors + block) + 24 * block
    learned = min(forward_vectors, particles) * min(backward_vectors, particles)
    return (arrays * particles + depth * block_layers * learned) * itemsize

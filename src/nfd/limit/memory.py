"""What a simulation of the limit needs, known in advance (no torch)."""

from nfd.limit.problem import LimitProblem

# A matrix of n particles that meets p vectors each way takes 18 n p^2 operations revealed, and 6 n^2 p
# written out.
_WRITTEN_FROM = 1 / 3


def is_written_out(
    particles: int, forward_vectors: int, backward_vectors: int, coupling: str
) -> bool:
    """Whether a hidden matrix that meets so many vectors is cheaper written out than revealed as needed.

    Not with fresh copies, of which each step would have to write one.
    """
    fewer = min(forward_vectors, backward_vectors)
    return coupling != "fresh" and fewer > _WRITTEN_FROM * particles


def memory_bytes(problem: LimitProblem, particles: int, itemsize: int = 4) -> int:
    """Memory in bytes that simulating ``problem`` takes, apart from torch itself (about 0.4 GB).

    ``itemsize``: bytes of a number, 4 or 8.
    """
    forward, backward = problem.vectors
    return limit_bytes(
        particles,
        depth=problem.depth,
        forward_vectors=forward,
        backward_vectors=backward,
        block=max(len(problem.forward_ids(step)) for step in range(problem.steps + 1)),
        coupling=problem.coupling,
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
    coupling: str = "standard",
    block_layers: int = 1,
    itemsize: int = 4,
) -> int:
    """Memory in bytes of :func:`nfd.limit.simulate.simulate_limit`, the libraries (about 0.4 GB) not counted.

    ``forward_vectors``: samples passed forward, summed over the K + 1 evaluations; ``backward_vectors``
    the same backward; ``block``: the most samples passed forward at once.
    """
    # Slopes, at most one block per layer, and two dozen blocks in work.
    blocks = (depth + 24) * block
    if is_written_out(particles, forward_vectors, backward_vectors, coupling):
        # The initial matrix, the trained one, and that of a decoupled backward pass; their last blocks.
        rows = (3 if coupling == "decoupled" else 2) * particles + 2 * block
        return (depth * block_layers * rows + blocks) * particles * itemsize
    vectors = min(forward_vectors, particles) + min(backward_vectors, particles)
    # Two arrays per side and matrix.
    arrays = 2 * depth * block_layers * vectors + blocks
    learned = min(forward_vectors, particles) * min(backward_vectors, particles)
    return (arrays * particles + depth * block_layers * learned) * itemsize

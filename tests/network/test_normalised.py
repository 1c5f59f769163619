"""What is known of normalised numbers whatever they are made of, and softmaxes of numbers that lie far apart."""

import numpy as np
import pytest

import admm_verify as av
from admm_verify.bounds.preactivation import derived_bounds, input_rows
from admm_verify.certificates.check import check
from admm_verify.network.builder import Builder
from admm_verify.network.common_factors import summed_before_products
from admm_verify.network.graph import Activation, Network
from admm_verify.network.normalisation import layer_norm, over_root_mean_square, standardise
from admm_verify.network.softmax import softmax
from admm_verify.relaxations.bilinear import Bilinear, BilinearPlanes
from admm_verify.run import Run
from tests.network.test_common_factors import along

KINDS = {
    "standardised": lambda builder, x, n: standardise(builder, x, (1, n), 1e-5),
    "root mean square": lambda builder, x, n: over_root_mean_square(builder, x, (1, n), 1e-5),
}
WIDTHS = {"standardised": lambda n: (n - 1) ** 0.5, "root mean square": lambda n: n**0.5}


def alone(kind: str, n: int) -> Network:
    builder = Builder((1, n), "float64")
    return builder.finish(KINDS[kind](builder, builder.input, n), kind)


def read_by_layers(seed: int) -> Network:
    """A layer, its numbers normalised, and a layer of tanh and one more."""
    rng, builder = np.random.default_rng(seed), Builder((1, 3), "float64")
    x = along(builder, builder.input, rng.standard_normal((8, 3)), rng.standard_normal(8))
    x = layer_norm(builder, x, 1, rng.uniform(0.5, 2, 8), rng.standard_normal(8), 1e-5)
    x = builder.activation("tanh", along(builder, x, 0.3 * rng.standard_normal((5, 8)), rng.standard_normal(5)))
    return builder.finish(along(builder, x, rng.standard_normal((2, 5)), np.zeros(2)), "normalised")


def ends(network: Network, box: av.Box) -> tuple[np.ndarray, np.ndarray]:
    """CROWN's bounds of all outputs."""
    rows = np.concatenate([np.eye(network.output_size), -np.eye(network.output_size)])
    found = np.asarray(av.solve(av.Problem(network, box, rows), method="ascent", max_passes=0).lower).reshape(2, -1)
    return found[0], -found[1]


def spread(radius: float, n: int) -> np.ndarray:
    """Points of a box around 0 of which some are all but at one corner, or at 0."""
    rng = np.random.default_rng(n)
    x = radius * rng.uniform(-1, 1, (2000, n)) * 10.0 ** rng.uniform(-6, 0, (2000, 1))
    single = np.concatenate([np.eye(n), -np.eye(n), 1 - 2 * np.eye(n)])
    return np.concatenate([x, radius * single, np.zeros((1, n))])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 3, 8])
@pytest.mark.parametrize("radius", [0.01, 1.0, 100.0])
def test_normalised_numbers_are_at_most_roots_of_their_count(kind: str, n: int, radius: float) -> None:
    network, box = alone(kind, n), av.Box(np.full(n, -radius), np.full(n, radius))
    (limits,) = [f.limits for f in network.functions if f.kind == "product" and f.limits is not None] or [None]
    low, high = ends(network, box)
    most = WIDTHS[kind](n)
    assert limits is None or (most <= limits.entry <= most * (1 + 1e-15) + 1e-300)
    # Over small sets planes that are not level are closer in the middle, and go beyond the limit at corners.
    wide = most * (1 + 1e-9) + 1e-9 if radius >= 1 else 4 * most + 1e-9
    assert (high <= wide).all() and (low >= -wide).all()
    # In twice the digits: real numbers, of which bounds are.
    x = spread(radius, n).astype(np.longdouble)
    centred = x - x.mean(1, keepdims=True) if kind == "standardised" else x
    y = centred / np.sqrt((centred**2).mean(1, keepdims=True) + np.longdouble(1e-5))
    assert (low <= y).all() and (y <= high).all()


def test_limits_of_sums_hold() -> None:
    """Weighted sums of what is normalised are at most the norm of their weights times a root."""
    for seed in range(5):
        network = summed_before_products(read_by_layers(seed))
        (k,) = [k for k, node in enumerate(network.nodes) if isinstance(node, Activation) and node.limits is not None]
        product = network.nodes[k]
        assert isinstance(product, Activation) and product.limits is not None
        x = np.random.default_rng(seed).standard_normal((5000, 3)) * 10.0 ** np.linspace(-2, 6, 5000)[:, None]
        values = np.abs(network.evaluate(x)[k])
        assert 0.3 * product.limits.entry < values.max() <= product.limits.entry


@pytest.mark.parametrize("seed", range(3))
def test_bounds_behind_normalisations_hold_over_large_sets(seed: int) -> None:
    read = read_by_layers(seed)
    for network in (read, summed_before_products(read)):
        for radius in (0.1, 1.0, 30.0):
            box = av.Box(np.full(3, -radius), np.full(3, radius))
            bounds = derived_bounds(network, input_rows(network, box), "crown", Run())
            values = network.evaluate(spread(radius, 3))
            (k,) = [k for k, function in enumerate(network.functions) if function.kind == "tanh"]
            low, high, found = bounds.lower[k], bounds.upper[k], values[network.sources[k]]
            assert (low <= found).all() and (found <= high).all()
            assert ((high - low) < 60).all()
            low, high = ends(network, box)
            assert (low <= values[-1]).all() and (values[-1] <= high).all()


def test_level_planes_hold_where_products_do() -> None:
    """Lines and supports of products within a limit, at all operands of a box that keep it."""
    rng = np.random.default_rng(0)
    count = 400
    lower, upper = np.sort(rng.uniform(-3, 3, (2, 2 * count)), axis=0)
    limit = 1.0
    planes, hull = BilinearPlanes(lower, upper, limit), Bilinear(limit)
    levels = sum(int(np.sum(np.asarray(side))) for side in planes.level)
    assert 100 < levels < 700
    for a in (np.ones(count), -np.ones(count)):
        for slopes in (planes.start, rng.random(2 * count)):
            contact = planes.contact(a, slopes)
            g = planes.multiplier(a, contact)
            support = hull.support(lower, upper, a, g)
            for _ in range(200):
                p = rng.uniform(lower, upper)
                q = p[:count] * p[count:]
                kept = np.abs(q) <= limit
                line = planes.post(a, contact, p)
                assert (a * (q - line) >= -1e-12)[kept].all()
                assert (a * q - (g[:count] * p[:count] + g[count:] * p[count:]) >= support - 1e-12)[kept].all()
            # The support is that of the planes, or closer.
            assert (support >= a * contact.height - 1e-12).all()


def test_certificates_of_normalised_networks_are_checked() -> None:
    network = read_by_layers(1)
    box = av.Box(np.full(3, -1.0), np.full(3, 1.0))
    _, high = ends(network, box)
    query = av.query(network, box, f"y0 >= {high[0] + 0.01:.6f}")
    found = av.verify(query, timeout=60, settings=av.VerifySettings(certificate=True))
    assert found.verdict is av.Verdict.UNSAT and found.certificate is not None
    report = check(found.certificate, query.property, network)
    assert report.proved, report.reason


@pytest.mark.parametrize("n", [2, 3, 6])
@pytest.mark.parametrize("radius", [1.0, 30.0, 300.0])
def test_softmaxes_of_numbers_far_apart_are_bounded(n: int, radius: float) -> None:
    builder = Builder((1, n), "float64")
    network = builder.finish(softmax(builder, builder.input, (1, n, 1)), "softmax")
    low, high = ends(network, av.Box(np.full(n, -radius), np.full(n, radius)))
    # Lines of a sigmoid between 0 and 1 leave these at worst.
    assert (low >= -1).all() and (high <= 2).all()
    x = spread(radius, n).astype(np.longdouble)
    powers = np.exp(x - x.max(1, keepdims=True))
    y = powers / powers.sum(1, keepdims=True)
    assert (low <= y).all() and (y <= high).all()

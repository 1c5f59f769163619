"""Networks over affine forms: every output as one affine function of the forms' symbols, and what it may be off by."""

import numpy as np

from admm_verify.arrays import DOUBLE_ROUNDOFF, SMALLEST, Placement, gamma
from admm_verify.bounds.region import largest
from admm_verify.enclosures.affine_forms import AffineForms
from admm_verify.network.graph import Activation, Affine, Network
from admm_verify.relaxations.registry import lines_of, relaxation_of
from admm_verify.run import paced


def network_forms(network: Network, inputs: AffineForms) -> AffineForms:
    """Forms of a network's outputs over the symbols of its inputs; not finite where nothing is known.

    Through an affine node, z = sum_t W_t z_t + b: centres and generators are mapped, radii by |W_t|. Through an
    activation, z = phi(p): lines of slope s below and above phi over the range of p, at the distances that its
    relaxation certifies, give s times the form of p, with half of the distance as radius. The network is meant in real
    numbers. One pass of all cells costs as much as the network on cells (1 + symbols) points.
    Shapes: inputs [cells, n] -> [cells, outputs], with the same symbols.
    Error: rounding errors are part of the radii.
    Reference: Singh et al., Fast and Effective Robustness Certification, NeurIPS 2018, theorem 3.2.
    """
    return _Pass(network.put(Placement.numpy().double), inputs).outputs()


class _Pass:
    """Centres and generators of all nodes so far as planes [cells, 1 + m, n], and their radii [cells, n]."""

    def __init__(self, network: Network, inputs: AffineForms) -> None:
        self.network = network
        parts = [inputs.centre[..., None, :], np.swapaxes(inputs.generators, -1, -2)]
        sizes = inputs.deviation + np.abs(inputs.centre)
        self.known = np.asarray(np.isfinite(sizes).all(axis=-1))
        planes = np.where(self.known[:, None, None], np.concatenate(parts, axis=-2), 0.0)
        self.planes, self.radii = [planes], [np.where(self.known[:, None], inputs.radius, 0.0)]
        self.columns = planes.shape[1]

    def outputs(self) -> AffineForms:
        for _, node, k in paced(self.network.steps):
            if node is None:
                self._activation(self.network.functions[k])
            else:
                self._affine(node)
        planes, radius = self.planes[-1], self.radii[-1]
        known = self.known[:, None] & np.isfinite(radius) & np.isfinite(planes).all(axis=1)
        return AffineForms(planes[:, 0], np.swapaxes(planes[:, 1:], -1, -2), np.where(known, radius, np.nan))

    def _magnitude(self, i: int) -> np.ndarray:
        """Not less than a node's values."""
        return np.abs(self.planes[i]).sum(axis=1) + self.radii[i]

    @property
    def _tiny(self) -> float:
        """What products of one step lose to underflow, at most."""
        return 8.0 * (self.network.roundings + self.columns) * SMALLEST * (2.0 + self.columns)

    def _affine(self, node: Affine) -> None:
        rounding = 4.0 * gamma(self.network.roundings + self.columns)
        planes = np.zeros((1, 1, 1))
        radius, lost = np.zeros((1, 1)), rounding * node.bias_magnitude
        for term in node.terms:
            planes = term.map.apply(self.planes[term.source]) + planes
            radius = term.map.absolute_apply(self.radii[term.source]) + radius
            lost = term.map.magnitude_apply(rounding * self._magnitude(term.source)) + lost
        planes = np.concatenate([planes[:, :1] + node.bias, planes[:, 1:]], axis=1)
        self.planes.append(planes)
        self.radii.append((radius + lost) * (1.0 + 2.0 * rounding) + self._tiny)

    def _activation(self, node: Activation) -> None:
        planes, radius, relaxation = self.planes[node.source], self.radii[node.source], relaxation_of(node)
        size = self._magnitude(node.source)
        spread = np.abs(planes[:, 1:]).sum(axis=1) + radius
        spread = spread + 4.0 * gamma(self.columns + 4) * size + self._tiny
        low, high = np.nextafter(planes[:, 0] - spread, -np.inf), np.nextafter(planes[:, 0] + spread, np.inf)
        self.known = self.known & np.asarray((np.isfinite(low) & np.isfinite(high)).all(axis=-1))
        low, high = (np.where(self.known[:, None], end, 0.0) for end in (low, high))
        slope, image = lines_of(node, low, high).middle, relaxation.image(low, high)
        one = np.ones_like(image[0])
        least, most = relaxation.support(low, high, one, slope), -relaxation.support(low, high, -one, -slope)
        steep = np.abs(slope)
        # What the distances may be off by, of numbers that the slopes make of the inputs and of the function's values.
        scale = relaxation.folded(steep * largest(low, high)) + largest(*image)
        own = 0.5 * most - 0.5 * least + 40.0 * DOUBLE_ROUNDOFF * scale
        carried = relaxation.folded(steep * radius)
        rounded = 8.0 * gamma(self.columns + 8) * relaxation.folded(steep * size)
        planes = relaxation.folded(planes * slope[:, None, :])
        planes = np.concatenate([planes[:, :1] + (0.5 * most + 0.5 * least)[:, None, :], planes[:, 1:]], axis=1)
        self.planes.append(planes)
        self.radii.append((own + carried + rounded) * (1.0 + 16.0 * DOUBLE_ROUNDOFF) + self._tiny)

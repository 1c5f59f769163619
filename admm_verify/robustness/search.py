"""Branch and bound for what bounds leave unknown: an image and a radius are a query, which `verify` decides."""

import time
from fractions import Fraction

import numpy as np

from admm_verify.complete.settings import VerifySettings
from admm_verify.properties.property import Atom, Disjunct, NetworkDeclaration, Property, Variable
from admm_verify.properties.query import Query
from admm_verify.robustness.findings import Findings
from admm_verify.robustness.instances import Instances
from admm_verify.run import Run
from admm_verify.verdict import Verdict
from admm_verify.verify import verify

_MARGIN = (Fraction(1), Fraction(-1))


class ImageSearch:
    """Gives branch and bound some seconds for each image, which all of its unknown radii share.

    named: the seconds that are noted, where something else has had a part of them.
    """

    def __init__(self, instances: Instances, findings: Findings, arithmetic: str, seconds: float, named: float) -> None:
        self.instances, self.findings, self.seconds, self.named = instances, findings, seconds, named
        self.settings = VerifySettings(arithmetic=arithmetic)

    def search(self, image: int, run: Run) -> None:
        """Decide the unknown radii of an image as far as the time allows, the middle one first: its answer often
        settles others. What the end of the run cuts short is left for the next one.
        """
        findings, end = self.findings, time.monotonic() + self.seconds
        while len(left := findings.unsearched(image, self.named)):
            k = int(left[np.argsort(findings.radii[left])[(len(left) - 1) // 2]])
            share = max(0.0, end - time.monotonic()) / len(left)
            self._decide(image, k, Run.of(run, share))
            if findings.is_unknown(image, k) and run.over():
                return
            findings.search_ended(image, k, self.named)

    def _decide(self, image: int, k: int, run: Run) -> None:
        radius = float(self.findings.radii[k])
        outcome = verify(self._query(image, radius), settings=self.settings, run=run)
        if outcome.verdict is Verdict.UNSAT:
            self.findings.verified(np.array([image]), np.array([k]))
        if outcome.counterexample is not None:
            point = outcome.counterexample.reshape(-1)
            found = self.instances.counterexample(image, point)
            if found is not None and self.instances.near.holds(image, radius, point):
                self.findings.falsified(image, k, found)

    def _query(self, image: int, radius: float) -> Query:
        """Whether some input of the ball has an output f_j >= f_t of another class j than the label t."""
        network, near = self.instances.network, self.instances.near
        # Rounded inputs may lie beside a ball, so that in other arithmetics the whole box around it is asked about.
        cut = near.cut(image, radius) if self.settings.arithmetic == "real" else None
        box = near.exact(image, radius)
        label = int(self.instances.labels[image])
        declared = NetworkDeclaration(
            "", (Variable("x", "real", network.input_shape),), (Variable("y", "real", network.output_shape),)
        )
        disjuncts = tuple(
            Disjunct(box, (Atom(tuple(zip((label, other), _MARGIN, strict=True)), Fraction(0), strict=False),), cut)
            for other in range(network.output_size)
            if other != label
        )
        name = f"image {image}, radius {radius:g}"
        return Query(name, Property((2, 0), (declared,), disjuncts), network)

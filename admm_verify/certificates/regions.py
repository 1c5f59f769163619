"""Which input sets a certificate can be about: what the checker knows a minimum over."""

from admm_verify.errors import InputError
from admm_verify.properties.property import Property


def check_regions(property: Property) -> None:
    """Raise InputError for sets of which no certificate could be checked: all but boxes under linear constraints."""
    for disjunct in property.disjuncts:
        if disjunct.cut is not None and disjunct.cut.within is not None:
            raise InputError(
                f"The query's inputs lie in a {type(disjunct.cut.within).__name__}, of which no certificate can be "
                "checked: they are of boxes and of linear constraints between inputs. Leave the certificate out."
            )

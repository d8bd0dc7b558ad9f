"""Votes go in, certificates come out."""

from smoothcs.certification._at_eps import CertifiedAt as CertifiedAt
from smoothcs.certification._certificates import Certificates as Certificates
from smoothcs.certification._certify import Radii as Radii
from smoothcs.certification._certify import certify_votes as certify_votes
from smoothcs.certification._certify import radii_from_probabilities as radii_from_probabilities
from smoothcs.certification._certify import with_costs as with_costs
from smoothcs.certification._reach import largest_radius as largest_radius

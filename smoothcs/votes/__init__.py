"""Noisy copies of inputs go in, counts of the labels they got come out."""

from smoothcs.votes._forward import PRECISIONS as PRECISIONS
from smoothcs.votes._sample import FixedNumber as FixedNumber
from smoothcs.votes._sample import VotesInterrupted as VotesInterrupted
from smoothcs.votes._sample import sample_votes as sample_votes

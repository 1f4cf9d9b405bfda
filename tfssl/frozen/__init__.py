"""Frozen networks, whoever made them: what they are given as, their features, and what is measured and fitted of these.

Below the rooms that read it: `training`, which watches itself, `downstream`, which trains what begins here, and
`evaluation`, which compares the two.
"""

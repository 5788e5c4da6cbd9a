"""What an exposition of Prometheus says, added up, and which of it moves."""

import re

PEERS = ("c2s", "s2s", "component")
KINDS = ("stanza", "iq", "message", "presence", "error", "iq_error", "message_error", "presence_error")


def added_up(text):
    """Family -> the sum of its samples; one for each kind of peer ("family/c2s") where they have that label.

    Of a histogram it is how many things there were."""
    sums = {}
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE):
        if name.endswith(("_bucket", "_sum")):
            continue
        family = name if name in kinds else name.removesuffix("_count")
        peer = re.search(r'connection_type="(\w+)"', labels)
        key = f"{family}/{peer[1]}" if peer else family
        sums[key] = sums.get(key, 0) + float(value)
    return sums


def of_stanzas(peer):
    """Everything that is counted of stanzas of such peers."""
    names = [f"xmpp_element_{way}_{what}/{peer}" for way in ("in", "out") for what in [*(f"{kind}_count" for kind in KINDS), "byte_size"]]
    names += [f"{peer}_xmpp_element_size_{way}_byte_size" for way in ("in", "out")]
    names += [f"meerkat_{what}_{way}_total/{peer}" for what in ("stanzas", "stanza_bytes") for way in ("received", "sent")]
    return names


def of_bytes(peer, ways=("tcp", "tls")):
    """Everything that is counted of the bytes of their streams."""
    names = [f"{way}_data_{direction}_byte_size" for way in ways for direction in ("in", "out")]
    return [f"{name}/{peer}" for name in names] + [f"{peer}_{name}" for name in names]


class Watch:
    """Reads figures again and again, by `scrape`, and says what became of `names`."""

    def __init__(self, scrape, names):
        self.scrape = scrape
        self.names = names
        self.before = added_up(scrape())
        self.high = {}

    def now(self):
        figures = added_up(self.scrape())
        for name in self.names:
            self.high[name] = max(self.high.get(name, 0), figures[name])
        return figures

    def until(self, name, holds):
        """Reads until that holds of a figure."""
        while not holds(self.now()[name]):
            pass

    def rose(self, *constant):
        """All of them are higher than at first, or were; those that are `constant` are there at least."""
        self.now()
        still = [name for name in self.names if name not in constant and self.high[name] <= self.before[name]]
        assert not still, still
        assert all(self.high[name] > 0 for name in constant), constant

    def fall(self, *gauges):
        """These come back to what they were."""
        for name in gauges:
            self.until(name, lambda value, name=name: value <= self.before[name])

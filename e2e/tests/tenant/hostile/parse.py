"""Parses YAML and JSON as somebody who shares no code with the operator: a map of texts on stdin becomes, on stdout, a map of
lists of documents. A key that stands twice is an error, since each parser takes another one of the two."""

import json
import sys

import yaml


class Strict(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(set(keys)) < len(keys):
            raise yaml.constructor.ConstructorError(None, None, f"a key stands twice in {keys}", node.start_mark)
        return super().construct_mapping(node, deep)


def parse(name, text):
    if name.endswith(".json"):
        return [json.loads(text)]
    return list(yaml.load_all(text, Loader=Strict))


json.dump({name: parse(name, text) for name, text in json.load(sys.stdin).items()}, sys.stdout)

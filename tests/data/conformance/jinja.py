"""Writes jinja.json: what Python's Jinja2 prints, as the reference for src/text/jinja.

    python3 tests/data/conformance/jinja.py > tests/data/conformance/jinja.json

The environment is the one Hugging Face transformers renders chat templates in. Each case is
[template, variables, expected text] or, where Jinja2 refuses, [template, variables, null].
`conversations` are random histories through the real templates, seeded.
"""

import json
import os
import random
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = os.path.dirname(os.path.abspath(__file__))


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception

V = {
    "t": True, "f": False, "n": None, "i": 7, "neg": -3, "x": 2.5, "big": 123456789012345678901,
    "small": 1e-05, "tiny": 1.5e-7, "third": 1 / 3, "huge": 1.5e22, "s": "héllo wörld", "e": "", "emoji": "a👩b",
    "sp": "  \n\tpad \u00a0\u0085", "bom": "\ufeff x \ufeff", "list": [3, 1, 2], "words": ["b", "A", "c", "B"], "mixed": [1, "a", None, True, 2.5, [], {}],
    "d": {"b": 1, "a": {"z": [1, 2], "é": None}, "items": "key"}, "rows": [{"k": "x", "v": 1}, {"k": "y", "v": 2}, {"k": "x", "v": 3}, {"v": 0}],
    "q": "it's \"q\" \\ \u200d \n", "q1": "it's", "md": "<b>&'\"</b>", "lines": "one\n\n  two\nthree\n", "empty": [], "num": {"10": "ten", "2": "two", "x": 0},
}

TEMPLATES = r"""
{{ t }}|{{ f }}|{{ n }}|{{ i }}|{{ neg }}|{{ x }}|{{ big }}|{{ small }}|{{ tiny }}|{{ third }}|{{ huge }}
{{ t | string }}|{{ n | string }}|{{ x | string }}|{{ list | string }}|{{ d | string }}|{{ nope | string }}|
{{ mixed }}
{{ d }}|{{ num }}|{{ {'k': (1,2), 'e': [n, t]} }}
{{ [q] }}|{{ [q1] }}|{{ [emoji, sp, bom] }}
{{ q | tojson }}|{{ md | tojson }}|{{ emoji | tojson }}|{{ emoji | tojson(ensure_ascii=true) }}
{{ mixed | tojson }}|{{ d | tojson }}|{{ big | tojson }}|{{ small | tojson }}|{{ num | tojson }}
{{ d | tojson(indent=2) }}|{{ mixed | tojson(indent=4) }}|{{ d | tojson(sort_keys=true) }}|{{ d | tojson(separators=(',', ':')) }}
{{ nope | tojson }}
{{ (1, 2) | tojson }}|{{ {1: 2, none: 3, false: 4, 1.5: 5} | tojson }}
{{ nope }}|{{ d.nope }}|{{ list[9] }}|{{ nope is defined }}|{{ d.nope is undefined }}|{{ n is defined }}
{{ nope.x }}
{{ nope.x is defined }}
{{ list[9].x }}
{{ n.x }}|{{ i.x }}
{{ n.x.y }}
{{ nope + 1 }}
{{ nope() }}
{{ s() }}
{{ 'a' + 1 }}
{{ 'a' + n }}
{{ 1 + 'a' }}
{{ 'a' ~ 1 ~ n ~ t ~ x ~ list }}
{{ 1 + 2 * 3 }}|{{ 7 / 2 }}|{{ 7 // 2 }}|{{ -7 // 2 }}|{{ -7 % 3 }}|{{ 7 % -3 }}|{{ 2 ** 10 }}|{{ 2 ** 100 }}|{{ 2 ** -1 }}|{{ 6 / 2 }}|{{ 1 + 1.0 }}|{{ 7.5 // 2 }}|{{ -7.5 % 2 }}
{{ big + 1 }}|{{ big * big }}|{{ big // 7 }}|{{ big % 1000 }}|{{ -big // 7 }}|{{ 9007199254740992 + 1 }}|{{ 3037000500 * 3037000500 }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ true + true }}|{{ true == 1 }}|{{ 1 == 1.0 }}|{{ '1' == 1 }}|{{ none == false }}|{{ [1, 2] == [1, 2] }}|{{ {'a': [1]} == {'a': [1]} }}|{{ (1,2) == [1,2] }}
{{ 1 < 2 }}|{{ 'a' < 'b' }}|{{ 'Z' < 'a' }}|{{ [1, 2] < [1, 3] }}|{{ 2.5 >= 2 }}|{{ true < 2 }}
{{ 'a' < 1 }}
{{ n < 1 }}
{{ 'l' in s }}|{{ 'b' in d }}|{{ 3 in list }}|{{ '3' in list }}|{{ 'zz' not in s }}|{{ [1] in [[1]] }}|{{ 1 in [true] }}|{{ 'x' in nope }}
{{ 1 in s }}
{{ 'x' in n }}
{{ e or 'alt' }}|{{ s and 1 }}|{{ empty or n }}|{{ not e }}|{{ 0 or false }}|{{ 0.0 or 'z' }}|{{ {} or 'y' }}
{{ 'y' if t else 'n' }}|{{ 'y' if f }}|{{ 'y' if f else 'n' if f else 'm' }}
{{ list[0] }}|{{ list[-1] }}|{{ list[1:] }}|{{ list[::-1] }}|{{ list[:-1] }}|{{ list[5:] }}|{{ s[1:4] }}|{{ s[::-1] }}|{{ emoji[1] }}|{{ emoji[-1] }}|{{ emoji | length }}|{{ list[-2:9] }}|{{ list[::2] }}|{{ list[2:0:-1] }}
{{ d['items'] }}|{{ d.items() | list }}|{{ d.a.z.0 }}|{{ d.get('b') }}|{{ d.get('q') }}|{{ d.get('q', 5) }}|{{ d.keys() | list }}|{{ d.values() | list }}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}|{% for k in d %}{{ k }}{% endfor %}|{% for k, v in d | items %}{{ k }}{% endfor %}|{% for k, v in num | items %}{{ k }}{% endfor %}|
{% for k, v in d | dictsort %}{{ k }}{% endfor %}|{{ {'b': 2, 'A': 3, 'c': 1} | dictsort }}|{{ {'b': 2, 'A': 3, 'c': 1} | dictsort(true) }}|{{ {'b': 2, 'A': 3, 'c': 1} | dictsort(by='value', reverse=true) }}
{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }};{% endfor %}
{% for c in emoji %}[{{ c }}]{% endfor %}{% for x in nope %}x{% else %}none{% endfor %}{% for x in [] %}x{% else %}empty{% endfor %}
{% for x in n %}x{% endfor %}
{% for x in i %}x{% endfor %}
{% for x in list if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% endfor %}
{% for a, b in [(1, 2), [3, 4]] %}{{ a + b }} {% endfor %}
{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}
{% for a, b in ['xy'] %}{{ a }}-{{ b }}{% endfor %}
{% for x in [1, 2, 3, 4] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% else %}never{% endfor %}
{% for x in [1] %}{% break %}{% else %}E{% endfor %}|{% for x in [1] %}{% continue %}{% else %}E{% endfor %}|
{% set a = 1 %}{% for x in list %}{% set a = a + x %}{{ a }} {% endfor %}{{ a }}
{% for x in list %}{% if seen is defined %}again{% endif %}{% set seen = 1 %}{{ seen }}{% endfor %}|{{ seen is defined }}
{% set ns = namespace(a=1, b='x') %}{% for x in list %}{% set ns.a = ns.a + x %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}
{% set d.b = 2 %}
{% if t %}{% set a = 5 %}{% endif %}{{ a }}
{% set a, b = 1, 'z' %}{{ a }}{{ b }}
{% set block %}  in {{ i }} {% set inner = 3 %}{% endset %}[{{ block }}]{{ inner is defined }}
{% set block | upper | trim %}  in {{ i }} {% endset %}[{{ block }}]
{% macro m(a, b='dflt', c=a) %}<{{ a }},{{ b }},{{ c }}>{% endmacro %}{{ m(1) }}{{ m(1, c=2) }}{{ m('x', 'y') }}{{ m() }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, z=2) }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 'b', z=2) }}
{% macro m() %}{{ x2 is defined }}{{ g }}{% endmacro %}{% set g = 'top' %}{% for x2 in [1] %}{{ m() }}{% endfor %}
{% macro outer() %}[{{ caller('arg') }}]{% endmacro %}{% call(v) outer() %}got {{ v }}{% endcall %}
{% macro rec(n) %}{{ n }}{% if n > 0 %}{{ rec(n - 1) }}{% endif %}{% endmacro %}{{ rec(3) }}
{% filter upper %}shout {{ s }}{% endfilter %}
{{ sp | trim | tojson }}|{{ bom | trim | tojson }}|{{ sp.strip() | tojson }}|{{ 'xxaxx'.strip('x') }}|{{ 'xyaxy'.lstrip('yx') }}|{{ '\n\na\n'.rstrip('\n') | tojson }}|{{ n | trim }}|{{ 'xax' | trim('x') }}
{{ 'a b  c'.split() }}|{{ 'a,b,,c'.split(',') }}|{{ 'a,b,c'.split(',', 1) }}|{{ ' a b c '.split(none, 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ '  a b c '.rsplit(none, 1) }}|{{ ''.split() }}|{{ ''.split(',') }}|{{ 'a</think>b'.split('</think>')[-1] }}|{{ 'x'.split('x') }}|{{ ' a '.rsplit() }}
{{ 'a'.split('') }}
{{ lines.splitlines() }}|{{ 'aXbXc'.replace('X', '-') }}|{{ 'aXbXc'.replace('X', '-', 1) }}|{{ 'ab'.replace('', '.') }}|{{ 'aXbX' | replace('X', '') }}|{{ 'a$b' | replace('$', '$$') }}|{{ 5 | replace('5', 'five') }}|{{ 'ab'.replace('', '.', 2) }}|{{ 'aaa' | replace('a', 'b', 2) }}
{{ 'hello world'.title() }}|{{ "they're".title() }}|{{ 'hELLO'.capitalize() }}|{{ 'hELLO' | capitalize }}|{{ 'foo-bar (baz) they\'re' | title }}|{{ s.upper() }}|{{ s | upper }}|{{ 'ABC' | lower }}|{{ t | lower }}|{{ 'straße'.upper() }}
{{ 'abc'.startswith('a') }}|{{ 'abc'.startswith(('x', 'ab')) }}|{{ 'abc'.endswith('bc') }}|{{ 'abc'.startswith('b', 1) }}|{{ 'abc'.find('c') }}|{{ emoji.find('b') }}|{{ 'abc'.find('z') }}|{{ 'abab'.rfind('a') }}|{{ 'abab'.count('ab') }}|{{ 'abc'.index('b') }}|{{ 'ab'.count('') }}
{{ 'abc'.index('z') }}
{{ 'a'.startswith(1) }}
{{ 'a-b-c'.partition('-') }}|{{ 'a-b-c'.rpartition('-') }}|{{ 'abc'.partition('x') }}|{{ 'abc'.removeprefix('a') }}|{{ 'abc'.removesuffix('c') }}|{{ '7'.zfill(3) }}|{{ '-7'.zfill(4) }}|{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '.') }}
{{ '12'.isdigit() }}|{{ 'ab'.isalpha() }}|{{ 'a1'.isalnum() }}|{{ ' '.isspace() }}|{{ 'AB'.isupper() }}|{{ 'ab'.islower() }}|{{ ''.isdigit() }}|{{ '-'.join(['a', 'b']) }}
{{ '-'.join([1]) }}
{{ list | join }}|{{ list | join(', ') }}|{{ mixed | join('-') }}|{{ rows | join(',', attribute='v') }}|{{ 'abc' | join('.') }}
{{ list | length }}|{{ s | length }}|{{ d | length }}|{{ nope | length }}|{{ e | count }}
{{ n | length }}
{{ i | length }}
{{ list | first }}|{{ list | last }}|{{ empty | first }}|{{ 'xyz' | first }}|{{ 'xyz' | last }}|{{ list | reverse | list }}|{{ 'abc' | reverse }}
{{ list | sort }}|{{ list | sort(reverse=true) }}|{{ words | sort }}|{{ words | sort(case_sensitive=true) }}|{{ rows[:3] | sort(attribute='v', reverse=true) | map(attribute='v') | list }}|{{ words | unique | list }}|{{ words | unique(case_sensitive=true) | list }}
{{ mixed | sort }}
{{ list | min }}|{{ list | max }}|{{ words | max }}|{{ empty | max }}|{{ list | sum }}|{{ rows | sum(attribute='v') }}|{{ [1.5, 2] | sum }}|{{ rows | map(attribute='v') | sum }}
{{ rows | map(attribute='k', default='-') | list }}|{{ words | map('upper') | list }}|{{ [' a '] | map('trim') | join }}|{{ list | map('string') | list }}|{{ words | map('replace', 'A', 'z') | list }}
{{ list | select('odd') | list }}|{{ list | reject('odd') | list }}|{{ mixed | select | list }}|{{ mixed | reject | list }}|{{ mixed | select('string') | list }}|{{ words | reject('in', ['b', 'c']) | list }}|{{ list | select('gt', 1) | list }}|{{ list | select('divisibleby', 3) | list }}
{{ d.keys() | reject('in', ['b']) | list }}|{{ rows | selectattr('k', 'equalto', 'x') | map(attribute='v') | list }}|{{ rows | selectattr('k', 'defined') | list | length }}|{{ rows | rejectattr('k') | list }}|{{ rows | selectattr('v') | map(attribute='v') | list }}|{{ rows | selectattr('k', 'in', ['y']) | list }}
{{ nope | default('D') }}|{{ n | default('D') }}|{{ e | default('D', true) }}|{{ e | d('D', boolean=true) }}|{{ d.zz | default('D') }}|{{ nope | default }}
{{ '12' | int }}|{{ ' 12 ' | int }}|{{ '12.7' | int }}|{{ 'x' | int }}|{{ 'x' | int(5) }}|{{ 3.9 | int }}|{{ -3.9 | int }}|{{ t | int }}|{{ '1_000' | int }}|{{ '0x1f' | int(0, 16) }}|{{ 'ff' | int(base=16) }}|{{ n | int }}|{{ '1e3' | int }}
{{ '1.5' | float }}|{{ 'x' | float }}|{{ 2 | float }}|{{ '1e-7' | float }}|{{ ' 3 ' | float }}|{{ n | float(1.0) }}|{{ 'inf' | float }}
{{ -3 | abs }}|{{ 2.5 | round }}|{{ 3.5 | round }}|{{ 2.675 | round(2) }}|{{ 0.125 | round(2) }}|{{ 0.375 | round(2) }}|{{ 2.4 | round(method='ceil') }}|{{ 2.6 | round(0, 'floor') }}|{{ 5 | round }}|{{ 1234.5 | round(-2) }}|{{ -2.5 | round }}|{{ -3.5 | abs }}
{{ lines | indent | tojson }}|{{ lines | indent(2, true) | tojson }}|{{ lines | indent(2, blank=true) | tojson }}|{{ lines | indent('> ') | tojson }}|{{ 'a\nb\n' | indent | tojson }}|{{ '' | indent | tojson }}
{{ md | e }}|{{ md | escape }}|{{ 'one two' | wordcount }}|{{ md | safe }}
{{ t is boolean }}|{{ i is integer }}|{{ t is integer }}|{{ x is float }}|{{ i is number }}|{{ t is number }}|{{ s is string }}|{{ d is mapping }}|{{ list is sequence }}|{{ s is sequence }}|{{ d is sequence }}|{{ d is iterable }}|{{ i is iterable }}|{{ n is none }}|{{ n is not none }}|{{ nope is iterable }}|{{ nope is sequence }}|{{ t is true }}|{{ f is false }}|{{ 1 is true }}|{{ i is odd }}|{{ i is even }}|{{ 'a' is lower }}|{{ 'A' is upper }}|{{ raise_exception is callable }}|{{ n is iterable }}|{{ (1, 2) is sequence }}|{{ n is mapping }}
{{ 'a' is odd }}
{{ s is nosuchtest }}
{{ s | nosuchfilter }}
{{ range(3) | list }}|{{ range(1, 4) | list }}|{{ range(5, 0, -2) | list }}|{{ dict(a=1, b='x') }}|{% set j = joiner(', ') %}{{ j() }}a{{ j() }}b|{% set c = cycler('x', 'y') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}
{{ raise_exception('no way') }}
{{ (1, 'a') }}|{{ 'abc'.partition('b') }}
{{ [1, 2] + [3] }}|{{ 'ab' * 3 }}|{{ [0] * 3 }}|{{ 3 * 'x' }}
{{ -i }}|{{ +i }}|{{ -x }}|{{ - 3 }}|{{ i-1 }}|{{ list[-1]-1 }}
{{ 1.0 }}|{{ 100.0 * 1.1 }}|{{ 0.1 + 0.2 }}|{{ 1.0 * 10 ** 16 }}|{{ 1.0 * 10 ** 15 }}|{{ 0.0001 }}|{{ 0.00001 }}
a {# comment #} b{#- tight -#}  c
x  {%- if t -%}  y  {%- endif -%}  z
{{- '  keep  ' -}}   |
{%- for x in list -%} {{ x }} {%- endfor -%}
{{ "a\tb\n\"q\" \\ \x41 \u00e9" }}|{{ 'con' 'cat' }}
{{ {'a': 1}['a'] }}|{{ {'a': {'b': 2}}.a.b }}|{{ [[1, 2], [3]][0][1] }}
{{ [n, t, 1.0, 'x', (n, 1)] }}|{{ {'n': n} }}|{{ [nope] }}
{{ [none] | first }}|{{ [1, none] | last }}|{{ {'a': none}.get('a', 5) }}|{{ {'a': none}.a }}|{{ {'a': none}['a'] is defined }}|{{ d.a['é'] is none }}|{{ [none] | map(attribute='x') | list }}|{{ n.x is defined }}
{% for x in [none] %}{{ x }}{{ n }}{{ none }}{{ n is defined }}{% endfor %}{% macro m(a=1) %}{{ a }}{{ n }}{% endmacro %}{{ m(none) }}{{ m(a=n) }}{% set z = none %}{{ z is defined }}{% set ns = namespace(q=none) %}{{ ns.q }}{{ ns.q is none }}
{{ messages | default([]) | length }}|{{ s.nope is defined }}|{{ list.append is defined }}
{{ list.append(4) }}
{{ d.update({'z': 1}) }}
{{ s.__class__ }}|{{ d.__len__ is defined }}
{% set _ = d.pop('b') %}
{{ ('a' if t else 'b') ~ 'c' }}|{{ (i > 3 and i < 9) | string }}|{{ not (t and f) }}|{{ i == 7 and 'seven' or 'other' }}|{{ 'a' in ['a'] and not 'b' in ['a'] }}
{{ s | upper | lower | replace('l', 'L') | length }}|{{ (list | sort)[0] }}|{{ (words | map('lower') | list)[0] }}|{{ rows | selectattr('k', 'defined') | map(attribute='k') | unique | join }}
{% for a in [1, 2] %}{% for b in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}
{% for row in rows %}{% set row = row.v %}{{ row }}{% endfor %}
{%- set tool = {'function': {'name': 'f'}} %}{%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}{{ tool.name }}
{{ 'x' | attr('upper') is defined }}|{{ d | attr('b') is defined }}
"""

# Templates of several lines, written apart because the list above has one per line.
LONGER = [
    "{% if t %}\nyes\n{% else %}\nno\n{% endif %}\nend\n",
    "  {% for x in list %}\n  - {{ x }}\n  {% endfor %}\ndone",
    "{{ s }}\n\n{% set a = 1 %}\n\n{{ a }}\n",
    "line\r\n{% if t %}\r\nwin\r\n{% endif %}\r\nend",
    "{#- c -#}\n  text\n{# d #}\nmore",
    "{% macro a() %}\n  x\n{% endmacro %}\n[{{ a() }}]",
    "{%- if t %}\n    {{- 'a' }}\n{%- endif %}\n",
    "\n\n  lead\n",
    "a{% if t %} b {% endif %}c  \n  {%- set z = 1 %}\n d",
]


def render(template, variables):
    try:
        return env.from_string(template).render(**variables)
    except Exception as error:  # noqa: BLE001 - any refusal counts
        print(f"refused: {template!r}: {error}", file=sys.stderr)
        return None


def random_text(rng):
    words = ["alpha", "Grüße", "<b>&", '"q"', "'s'", "日本", "👩‍💻", "\n", "  ", "\t", "</think>", "<think>", "<tool_response>", "x" * 5, "\ufeff", "\u0085", "{{ no }}", "{% if %}"]
    return "".join(rng.choice(words) + rng.choice(["", " "]) for _ in range(rng.randrange(6)))


def random_value(rng, depth=0):
    kind = rng.randrange(11 if depth < 3 else 8)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind == 2:
        return rng.choice([0, 1, -1, 42, 2**53 - 1])
    if kind == 3:
        return rng.choice([0.5, -2.25, 1e-05, 1.5e-07, 0.1, 1 / 3, 123456.789, 1.5e22])
    if kind < 8:
        return random_text(rng)
    if kind == 8:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(["a", "b c", "k-1", "$ref", "é", "type", "name"]): random_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def random_tool(rng, i):
    properties = {}
    for j in range(rng.randrange(4)):
        field = {}
        if rng.random() < 0.9:
            field["type"] = rng.choice(["string", "integer", ["string", "null"], "array"])
        if rng.random() < 0.7:
            field["description"] = random_text(rng)
        for key in ["enum", "default", "items", "minItems", "required", "x-extra", "$ref", "name"]:
            if rng.random() < 0.25:
                field[key] = random_value(rng) if key != "enum" else ["a", "b"]
        if "required" in field and not isinstance(field["required"], list):
            field["required"] = ["a"]
        properties[f"p{j}"] = field
    function = {"name": f"tool_{i}", "description": random_text(rng), "parameters": {"type": "object", "properties": properties}}
    if rng.random() < 0.6:
        function["parameters"]["required"] = sorted(properties)
    if rng.random() < 0.2:
        function["strict"] = True
    if rng.random() < 0.15:
        function["return"] = random_value(rng)
    return {"type": "function", "function": function} if rng.random() < 0.8 else function


def random_conversation(rng):
    messages = []
    if rng.random() < 0.6:
        messages.append({"role": "system", "content": random_text(rng)})
    for _ in range(rng.randrange(1, 6)):
        role = rng.choice(["user", "assistant", "tool", "call", "system" if rng.random() < 0.2 else "user"])
        if role == "call":
            calls = []
            for _ in range(rng.randrange(1, 3)):
                arguments = {f"arg{j}": random_value(rng) for j in range(rng.randrange(4))}
                call = {"name": "tool_0", "arguments": arguments}
                calls.append({"type": "function", "function": call} if rng.random() < 0.8 else call)
            messages.append({"role": "assistant", "content": rng.choice(["", random_text(rng)]), "tool_calls": calls})
        else:
            messages.append({"role": role, "content": random_text(rng)})
    tools = [random_tool(rng, i) for i in range(rng.randrange(1, 3))] if rng.random() < 0.6 else None
    return messages, tools


def main():
    cases = [[line, render(line, V)] for line in TEMPLATES.strip("\n").split("\n")]
    cases += [[text, render(text, V)] for text in LONGER]
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    files = {
        "chat_template.jinja": None, "chat_template.v1-2025-07.jinja": None,
        "chat_template.unsloth-gguf.jinja": None, "chat_template.hermes.jinja": None,
    }
    for name in files:
        with open(os.path.join(HERE, name), encoding="utf-8") as file:
            files[name] = env.from_string(file.read())
    conversations = []
    for seed, (name, template) in enumerate((n, t) for _ in range(count) for n, t in files.items()):
        rng = random.Random(seed)
        messages, tools = random_conversation(rng)
        generate = rng.random() < 0.7
        try:
            expected = template.render(messages=messages, tools=tools, documents=None, add_generation_prompt=generate)
        except Exception as error:  # noqa: BLE001
            print(f"refused: {name} {seed}: {error}", file=sys.stderr)
            expected = None
        conversations.append({"template": name, "seed": seed, "messages": messages, "tools": tools, "add_generation_prompt": generate, "expected": expected})
    # Variables travel as JSON text: JSON.parse in the reader would lose 123456789012345678901.
    json.dump(
        {"reference": f"Jinja2 {jinja2.__version__}", "variables": json.dumps(V), "cases": cases, "conversations": conversations},
        sys.stdout, indent=1, ensure_ascii=True,
    )
    print()


if __name__ == "__main__":
    main()

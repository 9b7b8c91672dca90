"""Chat templates and snippets rendered by transformers, for crates/model-qwen/testdata/templates.

Not run by the Rust code: `python tools/oracles/templates.py` (transformers 5.24, jinja2) renders every *.jinja of that folder
over the conversations below into cases.jsonl, and the snippets below into snippets.jsonl. A row has `text`, or `error` where
transformers raises; `generated` has the pieces of the text that a {% generation %} block wrote.
"""
import itertools
import json
import pathlib

from transformers.utils import chat_template_utils as ctu

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates" / "model-qwen" / "testdata" / "templates"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": ""}

TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "The weather of a place — today's.", "parameters": {
        "type": "object", "properties": {"place": {"type": "string", "description": " A city "},
                                         "units": {"type": "string", "enum": ["metric", "imperial"], "default": "metric", "description": "Units"}},
        "required": ["place"]}}},
    {"type": "function", "function": {"name": "order", "description": "Order \"things\".", "parameters": {
        "type": "object", "properties": {"items": {"type": "array", "items": {"type": "string"}, "description": "What"},
                                         "count": {"type": ["integer", "null"], "description": "How many", "default": None},
                                         "rush": {"type": "boolean", "description": "Fast", "default": False},
                                         "limits": {"type": "object", "properties": {"price": {"type": "number", "default": 1e-7}},
                                                    "description": "Bounds"}},
        "required": ["items"]}, "return": {"type": "string"}}},
]
DOCUMENTS = [{"title": "One", "text": "First text."}, {"title": "Zwei", "text": "Zweiter Text: ü."}]


def call(name, arguments, id="abc123456"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


U, A, S = (lambda r: lambda c, **k: {"role": r, "content": c} | k)("user"), (lambda c, **k: {"role": "assistant", "content": c} | k), (
    lambda c: {"role": "system", "content": c})
CONVERSATIONS = {
    "user": [U("Hello, what is 2 + 2?")],
    "turns": [S("Answer briefly. Be kind."), U("  Who's there? \n"), A(" Nobody, \"really\". "), U("é漢字 😀 {{ x }} {% y %}")],
    "inline-thinking": [U("3 * 3?"), A("<think>\nthree threes\n</think>\n\n9"), U("And 4?"), A("<think>\nfour\n</think>\n\n16")],
    "reasoning": [U("3 * 3?"), A("9", reasoning_content="three\nthrees\n"), U("more"), A("\n27", thinking="triple it")],
    "tools": [U("Weather in Bern?"), A(None, tool_calls=[call("weather", {"place": "Bern", "units": None})]),
              {"role": "tool", "name": "weather", "content": "{\"t\": 21.5}", "tool_call_id": "abc123456"}, A("21.5 degrees.")],
    "many-calls": [S("You order."), U("Two"), A("Ordering.", tool_calls=[call("order", {"items": ["a", "ü"], "count": 2, "rush": True, "limits": {"price": 1e22}}),
                                                                      call("weather", "{\"place\": \"x\"}", "def123456")]),
                   {"role": "tool", "content": "ok"}, {"role": "tool", "content": "sun"}],
    "parts": [S("S."), U([{"type": "text", "text": "What is "}, {"type": "image"}, {"type": "text", "text": "this?"}]), A("A cat's \"tail\"")],
    "null": [U("x"), A(None), U("y", name=None)],
    "no-think": [S("Short. /no_think"), U("q /nothink"), A("a")],
}

# Pieces of the language by themselves; each is a whole template.
VALUES = {"s": "Hello, World", "u": "äß漢😀 ok", "n": 7, "f": 2.5, "t": True, "no": None, "l": ["b", "a", 3, None, False], "d": {"b": 1, "a": [1.0, "x'y"], "c": {}},
          "rows": [{"role": "user", "n": 2}, {"role": "bot", "n": 1}, {"role": "user", "n": 3}], "e": [], "text": "  a.b.c  \n", "big": 1e22, "small": 1e-7}
SNIPPETS = r"""
{{ l }}|{{ d }}|{{ t }}|{{ no }}|{{ f }}|{{ big }}|{{ small }}|{{ [1.0, 1e16, 123456789.123] }}
{{ 'a' ~ l ~ d ~ t ~ no ~ n }}|{{ [1, 'x'] ~ {'k': none} }}|{{ missing ~ 'x' }}
{{ "%s has %d of %s" % (s, n, l) }}|{{ '%s' % s }}|{{ '%s' % l }}|{{ '%s' % no }}|{{ '%5.2f|%-4s|%04d' % (f, 'a', n) }}
{{ '%s' % t }}|{{ '%s-%s' % ('a', 'b') ~ '!' }}|{{ 'x%%' % () }}|{{ '%r' % 'a' }}
{{ 7 % 3 }}|{{ -7 % 3 }}|{{ 7 % -3 }}
{{ 7.5 % 2 }}|{{ 2 * 5 % 4 }}|{{ 2 + 5 % 4 * 3 }}|{{ (n + 1) % 2 == 0 }}|{{ n % 2 }}
{% for x in l %}{{ loop.index0 % 2 }}{% if loop.index % 2 == 0 %}e{% endif %}{% endfor %}
{% if n % 2 == 1 and (n // 2) % 2 == 1 %}yes{% endif %}{{ 'a' if n % 7 else 'b' }}{{ {'k': n % 4}['k'] }}{{ [n % 4, n % 5] | sum }}
{% set x = n % 3 ~ 'q' %}{{ x }}{% set y = '%s' % x | upper %}{{ y }}
{{ s.rsplit(', ', 1) }}|{{ s.rsplit(' ') }}|{{ text.rsplit() }}|{{ text.split() }}|{{ 'a b  c d'.split(none, 1) }}|{{ 'a b  c d'.rsplit(maxsplit=1) }}|{{ 'a,b,,c'.split(',', 2) }}
{{ text.strip() }}|{{ text.strip(' a\n') }}|{{ text.lstrip() }}|{{ 'xxayx'.rstrip('x') }}|{{ 'xxayx'.lstrip('yx') }}|{{ '\n\na\n'.strip('\n') }}
{{ s.startswith('He') }}{{ s.endswith(('x', 'World')) }}{{ s.upper() }}{{ s.lower() }}{{ u.title() }}{{ 'hELLO wORLD'.capitalize() }}{{ s.swapcase() }}
{{ s.replace('o', '0') }}|{{ s.replace('o', '0', 1) }}|{{ s.replace('', '-') }}|{{ 'aaa'.replace('a', 'b', 2) }}
{{ s.find('o') }}|{{ u.find('ok') }}|{{ u.find('z') }}|{{ s.rfind('o') }}|{{ s.index('W') }}|{{ s.count('l') }}|{{ s.find('o', 5) }}|{{ s.find('o', 0, 3) }}
{{ s.index('zz') }}
{{ ', '.join(['a', 'b']) }}|{{ '-'.join('abc') }}|{{ 'a=b=c'.partition('=') | list }}|{{ 'a=b=c'.rpartition('=')[0] }}|{{ 'prefix-x'.removeprefix('prefix-') }}|{{ 'x.py'.removesuffix('.py') }}
{{ '{} and {}'.format(s, n) }}|{{ '{0}{1}{0}'.format('a', 'b') }}|{{ '{x}-{y}'.format(x=1, y='z') }}|{{ '{:>5}|{:<4}|{:^5}'.format('a', 'b', 'c') }}|{{ '{:.2f}'.format(f) }}|{{ '{}'.format(l) }}|{{ '{}'.format(t) }}
{{ '7'.zfill(3) }}|{{ '-7'.zfill(4) }}|{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '.') }}|{{ 'ab'.center(5, '*') }}|{{ 'abc'.center(6, '*') }}
{{ '12'.isdigit() }}{{ 'ab'.isalpha() }}{{ 'a1'.isalnum() }}{{ ' \n'.isspace() }}{{ ''.isspace() }}{{ 'Ab'.isupper() }}{{ 'AB1'.isupper() }}{{ 'ab'.islower() }}{{ '12'.isnumeric() }}{{ ''.isdigit() }}{{ 'a'.isascii() }}
{{ 'a\nb\r\nc'.splitlines() }}|{{ 'a\nb\n'.splitlines(true) }}
{{ d | tojson }}|{{ l | tojson }}|{{ s | tojson }}|{{ u | tojson }}|{{ '<a&\'"\t\\\u0007>' | tojson }}|{{ [big, small, f, 1.0, t, no] | tojson }}
{{ d | tojson(indent=2) }}
{{ d | tojson(indent=0) }}|{{ [] | tojson(indent=4) }}|{{ {} | tojson(indent=4) }}|{{ [[], {}] | tojson(indent=1) }}
{{ u | tojson(ensure_ascii=true) }}|{{ u | tojson(true) }}|{{ d | tojson(separators=(',', ':')) }}|{{ d | tojson(sort_keys=true) }}|{{ d | tojson(indent=2, separators=(', ', '= ')) }}
{{ {2: 'a', true: 'b', none: 'c'} | tojson }}|{{ {1: 'a', none: 2.0} }}
{{ missing | tojson }}
{{ rows | map(attribute='role') | join(', ') }}|{{ rows | selectattr('role', 'equalto', 'user') | list | length }}|{{ rows | rejectattr('n', 'gt', 1) | map(attribute='n') | list }}|{{ rows | sort(attribute='n') | map(attribute='n') | list }}|{{ rows | map(attribute='n') | sum }}
{{ l | join('-') }}|{{ [true, none, 1.5] | join(' ') }}|{{ rows | join(',', attribute='n') }}|{{ 'abc' | list }}|{{ 'abc' | join('.') }}
{{ l | first }}{{ l | last }}{{ l | length }}{{ 'cab' | reverse }}{{ [3, 1, 2] | sort }}{{ [3, 1, 2] | sort(reverse=true) }}{{ [1, 1, 2] | unique | list }}{{ [1, 2, 3] | reverse | list }}
{% for k, v in d | dictsort %}{{ k }}{{ v }}{% endfor %}{% for k, v in d | items %}{{ k }}{{ v }}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for k in d.keys() %}{{ k }}{% endfor %}{% for v in d.values() %}{{ v }}{% endfor %}{{ d.get('z') }}{{ d.get('z', 'q') }}{{ d.get('b') }}
{{ d.keys() | list }}|{{ d.values() | list }}|{{ d | length }}|{{ 'b' in d }}|{{ 'z' not in d }}|{{ d['a'][1] }}|{{ d.a[0] }}|{{ d.missing }}|{{ d['zz'] is defined }}
{{ {'items': 1, 'keys': 2}.items() | list | length }}{{ {'items': [5]}['items'] }}
{{ l is sequence }}{{ s is sequence }}{{ d is sequence }}{{ n is sequence }}{{ s is iterable }}{{ d is iterable }}{{ n is iterable }}{{ missing is iterable }}{{ d is mapping }}{{ l is mapping }}
{{ n is number }}{{ t is number }}{{ f is number }}{{ s is string }}{{ n is integer }}{{ t is integer }}{{ f is float }}{{ t is boolean }}{{ no is none }}{{ t is true }}{{ t is false }}{{ missing is defined }}{{ n is odd }}{{ n is even }}{{ n is divisibleby 7 }}{{ n is in [7] }}
{{ s[0] }}{{ s[-1] }}{{ s[:5] }}{{ s[7:] }}{{ s[::-1] }}{{ l[1:3] }}{{ l[-2:] }}{{ l[::2] }}{{ u[2:4] }}
{{ s | upper }}{{ s | lower }}{{ s | title }}{{ s | capitalize }}{{ text | trim }}{{ 'xax' | trim('x') }}{{ s | replace('l', 'L') }}{{ s | replace('l', 'L', 1) }}{{ s | length }}{{ n | string + 'a' }}{{ l | string }}{{ '42' | int + 1 }}{{ 'x' | int }}{{ '1.5' | float }}{{ -3 | abs }}{{ 2.567 | round(1) }}{{ 2.5 | round }}
{{ missing | default('x') }}{{ '' | default('y') }}{{ '' | default('y', true) }}{{ no | default('z', true) }}{{ no | d('z') }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2) }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(width=2, first=false, blank=true) }}|{{ 'a\nb' | indent('> ') }}
{{ '%s=%s' | format('a', l) }}|{{ 'a b c' | wordcount }}
{% set ns = namespace(a=1, b=[]) %}{% for x in l %}{% set ns.a = ns.a + 1 %}{% set ns.b = ns.b + [x] %}{% endfor %}{{ ns.a }}{{ ns.b }}
{% for x in [1, 2, 3, 4] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }}{{ loop.length }}{% else %}none{% endfor %}{% for x in e %}x{% else %}none{% endfor %}
{% for x in l if x is string %}{{ loop.index }}{{ x }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('o', 'p') }}{% endfor %}
{% macro m(a, b='d', c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, c=2) }}{{ m('x', 'y') ~ 'z' }}{{ m(1)|length }}
{% macro w() %}<{{ caller() }}>{% endmacro %}{% call w() %}in{% endcall %}{% set b %}a{{ n }}{% endset %}{{ b }}{% filter upper %}x{{ s }}{% endfilter %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = [1] + [2] %}{{ c }}{{ 'ab' * 2 }}{{ [0] * 3 }}{{ 7 // 2 }}{{ 7 / 2 }}{{ 2 ** 3 }}{{ 'a' + 'b' }}{{ 1 + 1.0 }}{{ 6 / 2 }}
{{ 'x' if t }}{{ 'x' if no }}{{ 'a' if no else 'b' }}{{ no or 'c' }}{{ t and 'd' }}{{ not t }}{{ not no }}{{ 1 == 1.0 }}{{ 'a' < 'b' }}{{ [1] == [1] }}{{ 1 < 2 < 3 }}{{ 'a' in 'abc' }}{{ 3 in l }}{{ l is not none }}
{{ 'a\tb\\n\'"' }}{{ "it's" }}{{ ["it's", 'say "hi"', "both '\""] }}{{ ['é', '\n', '\x00', '​'] }}
a
  {% if true %}
  b
  {% endif %}
c
{%- if true -%}   d   {%- endif +%}
 e {{- ' f ' -}} g
{# comment with {% generation %} and % #}x{% raw %}{{ '%s' % x }}{% generation %}{% endraw %}y
{{ '{% generation %}' }}{{ "}}" }}{{ {'a': {'b': 1}}['a']['b'] }}{{ {'a': {'b': 2}} }}
A{% generation %}b{{ n }}{% endgeneration %}C{%generation%}d{%endgeneration%}{%- generation -%} e {%- endgeneration -%} F
{% for x in [1, 2] %}{{ x }}:{%- generation %}
g{{ x }}{{ loop.index }}
{% endgeneration -%}
 .{% endfor %}
{% set v = 1 %}{% generation %}{% set v = 2 %}{{ v }}{% endgeneration %}{{ v }}
{{ raise_exception('no: ' ~ n) }}
{{ missing.attribute }}
{{ 1 + 'a' }}
{{ no + 'a' }}
{{ l.append(1) }}
{{ undefined_function() }}
{{ dict(a=1, b='x') }}{{ dict(a=1)['a'] }}{{ range(3) | list }}{{ range(1, 10, 4) | list }}{{ 'a' is eq 'a' }}{{ cycler('a', 'b').next() }}
{% set j = joiner('|') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}
{{ 'Tom & "Jerry" <x>' }}{{ '<b>' | e }}{{ '<b>' | safe }}
{{ (s, n) | join('/') }}{{ (s if t else n) | length }}{{ l[n % 3] }}{{ s[n % 5:] }}{{ [n, n % 2, '%d%%' % n] }}
{%- set messages = rows -%}{%- for m in messages -%}{{- m['role'] ~ ('\n' if not loop.last else '') -}}{%- endfor -%}
{{ rows | groupby('role') | length }}{{ rows | map(attribute='n') | max }}{{ [1, 2, 3, 4, 5] | batch(2) | list }}{{ rows[-1].n }}{{ (rows | last).n }}{{ rows | map('length') | list }}
{{ ''.join(rows | map(attribute='role')) }}{{ 'x'.join([]) }}{{ l.index('a') }}{{ l.count('a') }}{{ strftime_now('%%') }}
{{ 1 if n % 2 is odd else 2 }}{{ n is divisibleby(7) and n % 7 == 0 }}{{ -n % 4 }}{{ '%s' % -n }}{{ '%s' % (n) }}{{ '%s' % (n,) }}
{{ '%(role)s: %(n)d' % rows[0] }}|{{ '%(a)s %(b)03d%%' % {'a': l, 'b': 7} }}|{{ '%(k)r' % {'k': 'x'} }}|{{ '%(role)-6s|' % rows[1] }}
{{ '%(missing)s' % rows[0] }}
{{ '%d' % 2.7 }}|{{ '%d' % -2.7 }}|{{ '%05d' % 3.9 }}|{{ '%d' % t }}|{{ '%i' % 4.2 }}
{{ "it's a-b (cd) {ef} [gh] <ij> 1st o.k" | title }}|{{ 'hELLO wORLD' | title }}|{{ "it's" .title() }}|{{ 7 | title }}
{{ missing | length }}|{{ e | length }}|{{ missing | count }}|{{ 'é漢' | length }}
{{ no | length }}
{{ 'abc' | center(7) }}|{{ 'ab' | center(5) }}|{{ 'a' | center | length }}|{{ 12 | center(4) }}
{{ 'foo bar baz qux' | truncate(9) }}|{{ 'foo bar baz qux' | truncate(9, true) }}|{{ 'foo bar baz qux' | truncate(11) }}|{{ 'foo bar baz qux' | truncate(11, false, '..', 0) }}|{{ 'foo bar baz qux' | truncate(9, end='', leeway=0) }}|{{ 'short' | truncate }}
{{ 'a b/ü?&=~x' | urlencode }}|{{ 7 | urlencode }}
{{ (1, 2) }}|{{ ('a',) }}|{{ () }}|{{ [(1, 'x'), (2, none)] }}|{{ {'k': (1, 2)} }}
{{ d.items() | list }}|{{ d | dictsort }}|{{ d | items | list }}|{{ (1, 2) | tojson }}|{{ ((1, 2), 3) }}|{{ (1, 2) | list }}|{{ (1,2) == (1,2) }}|{{ (1, 2) is sequence }}
{{ d | pprint }}|{{ l | pprint }}|{{ 'x' | pprint }}|{{ 3.0 | pprint }}
{{ 'a=b'.partition('=') }}|{{ 'a,b'.split(',') }}|{{ rows | groupby('role') | map('first') | list }}
{{ rows | map(attribute='role') | unique | list }}|{{ rows | map(attribute='n') | min }}|{{ rows | selectattr('n', 'ge', 2) | map(attribute='n') | list }}
{{ 'x' ~ (1, 'a') }}|{{ '%s' % ((1, 2),) }}|{{ (1, 2) | string }}|{{ (1, 2) | length }}
{{ range(0, 10, 3) | list }}|{{ range(5)[1:3] | list }}
{{ d | length }}|{{ d | list }}|{{ d | first }}|{{ d | join(',') }}|{{ d | tojson(indent=4) }}
{{ [1,2,3] | slice(2) | list }}|{{ [1,2,3] | batch(2, 'x') | list }}
{{ rows | tojson }}|{{ rows[0] | tojson(indent=None) }}|{{ 'é' | tojson(ensure_ascii=False) }}|{{ 'é' | tojson(ensure_ascii=True) }}
{{ 1e3 | tojson }}|{{ 1.50 | tojson }}|{{ 100000000000000000000 | tojson }}|{{ -0.0 }}|{{ 1e-5 }}|{{ 0.1 + 0.2 }}|{{ 1/3 }}
{{ 10 // 3 }}|{{ -10 // 3 }}|{{ 10.0 // 3 }}|{{ 2 ** 0.5 }}|{{ 10 % 3.5 }}|{{ -7 // 2.0 }}
{{ 3 | string | length }}|{{ true + 1 }}|{{ true | int }}|{{ '0x1A' | int(base=16) }}|{{ '12.7' | int }}|{{ 12.7 | int }}|{{ '3.7' | float | int }}
{{ s | list | length }}|{{ s | reverse }}|{{ s | sort | join }}|{{ l | select('string') | list }}|{{ l | reject('none') | list }}|{{ l | select | list }}
{{ s | wordcount }}|{{ s | truncate(5, true, '') }}|{{ 'a\n\nb' | indent(3, blank=true) }}|{{ 'abc' | replace('b', '') }}
{{ s.split(',')[0] | trim }}|{{ s.split()[-1] }}|{{ s.partition(',')[2] }}|{{ s.splitlines() }}
{{ 'ab'.join(['1', '2', '3']) }}|{{ 'Ab cD'.title() }}
{{ s is upper }}|{{ 'ABC' is upper }}|{{ s is lower }}|{{ l is iterable }}|{{ d is callable }}|{{ range is callable }}|{{ n is sameas n }}|{{ n is ne 8 }}|{{ n is gt 3 }}|{{ 'x' is in 'xyz' }}
{% set ns = namespace() %}{% set ns.x = [] %}{% for i in range(3) %}{% set ns.x = ns.x + [i * i] %}{% endfor %}{{ ns.x }}{{ ns.y is defined }}
{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }};{% endfor %}{% for i, (a, b) in [(0, (1, 2))] %}{{ i }}{{ a }}{{ b }}{% endfor %}
{% for x in [1,2,3] recursive %}{{ x }}{% endfor %}{% for x in [[1,[2]],3] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}{% endif %}{% endfor %}
{% for x in [1,1,2] %}{{ loop.changed(x) }}{{ loop.revindex0 }}{% endfor %}
{% for x in 'abc' %}{{ loop.cycle(1, 2) }}{{ x }}{% endfor %}{% for k in d %}{{ loop.last }}{% endfor %}
{% macro f(x, y=2, *a, **k) %}{{ x }}{{ y }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1) }}
{% macro outer(v) %}{% macro inner(w) %}<{{ w }}>{% endmacro %}{{ inner(v) ~ inner(v|upper) }}{% endmacro %}{{ outer('q') }}
{% macro fact(k) %}{% if k <= 1 %}1{% else %}{{ k * (fact(k - 1) | int) }}{% endif %}{% endmacro %}{{ fact(6) }}
{% call(item) f2(rows) %}{% endcall %}
{% macro each(xs) %}{% for x in xs %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(item) each(rows) %}[{{ item.role }}]{% endcall %}
{% if x is not defined %}u{% elif x %}t{% else %}f{% endif %}{% if rows|length > 2 and rows[0].role == 'user' %}ok{% endif %}
{% set t = 'outer' %}{% for i in [1] %}{% set t = 'inner' %}{{ t }}{% endfor %}{{ t }}{% if true %}{% set t = 'if' %}{% endif %}{{ t }}
{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}
{% set _ = l.append('z') %}{{ l }}
{% set q = [] %}{% set _ = q.append(1) %}{% set _ = q.extend([2, 3]) %}{{ q }}{{ q.pop() }}{{ q }}{{ q.insert(0, 'a') }}{{ q }}
{% set dd = dict(d) %}{% set _ = dd.update({'n': 5}) %}{{ dd }}{{ d.copy() }}{{ dd.pop('n') }}
{% set dd = {'a': 1} %}{% set _ = dd.__setitem__('b', 2) %}{{ dd }}
{{ dict(d, z=1) }}|{{ dict([('a', 1)]) }}|{{ d.setdefault('b', 9) }}
{{ d == {'b': 1, 'a': [1.0, "x'y"], 'c': {}} }}|{{ l[::-1] }}|{{ l[-1] is none }}|{{ [1] + [] }}|{{ [[1]] * 2 }}|{{ 'b' in l }}|{{ [1,2] < [1,3] }}
{{ "tab\there" }}|{{ 'quote\'s' }}|{{ "uni\u00e9" }}|{{ 'back\\slash' }}|{{ "\x41" }}|{{ 'a' 'b' }}
{{ ["a\tb", "c\\d", "e\u00a0f", "\u200b", "😀", "\x7f"] }}
{{ -3 }}|{{ - 3 + 5 }}|{{ not not 1 }}|{{ 1 if 0 else 2 if 0 else 3 }}|{{ (1 if 0) is defined }}|{{ 1.5e3 }}
{{ 5 / 2 }}|{{ 4 / 2 }}|{{ 7 // 2 * 2.0 }}|{{ 1e16 }}|{{ 123456789012345678 }}|{{ 1.0e15 }}|{{ 3 * 'ab' }}|{{ 2 * [1] }}
{{ strftime_now('%Y') | length }}|{{ strftime_now('%d %B %Y') is string }}|{{ strftime_now('%b')[:0] }}|{{ strftime_now('') }}|{{ strftime_now('%H:%M:%S') | length }}|{{ strftime_now('%j') | length }}|{{ strftime_now('%A, %-d') is string }}
{{ s|format }}|{{ '%s %s'|format(1, two) }}|{{ '%.3f' % f }}|{{ '%e' % 12345.678 }}|{{ '%g' % 0.00001 }}|{{ '%x' % 255 }}|{{ '%c' % 'a' }}|{{ '%+d' % 5 }}|{{ '%10.3s|' % 'abcdef' }}
{{ '{0:>6}'.format('a') }}|{{ '{:06.2f}'.format(3.14159) }}|{{ '{{}}'.format() }}|{{ '{:d}'.format(3) }}|{{ '{:x}'.format(255) }}
{{ rows | sum(attribute='n') }}|{{ [1.5, 2] | sum }}|{{ [] | sum }}|{{ [3, 1] | max }}|{{ ['b', 'a'] | min }}
{{ rows | sort(attribute='role,n') | map(attribute='n') | list }}|{{ rows | sort(attribute='n', reverse=true) | map(attribute='n') | list }}|{{ ['b', 'A', 'c'] | sort }}|{{ ['b', 'A', 'c'] | sort(case_sensitive=true) }}
{{ 3.14159 | round(2) }}|{{ 3.5 | round(0, 'floor') }}|{{ 3.14159 | round(3, 'ceil') }}|{{ 42.55 | round(1) | int }}
{{ 'a\nb' | tojson }}|{{ '</script>' | tojson }}|{{ "it's" | tojson }}|{{ 'a&b<c>' | tojson }}|{{ '\u2028' | tojson }}
{{ u.upper() }}|{{ u | upper }}|{{ u | length }}|{{ u[::-1] }}
{{ no is none }}|{{ no | default('d') }}|{{ no | string }}|{{ no ~ '' }}|{{ missing ~ '' }}|{{ missing == none }}|{{ missing | default(none) is none }}|{{ (missing or {}).x }}
{{ l | map('string') | join(',') }}|{{ rows | map('tojson') | join('\n') }}|{{ ['a', 'b'] | map('upper') | list }}|{{ rows | map(attribute='missing', default='?') | list }}|{{ ['a b'] | map('replace', ' ', '_') | first }}
{{ rows | selectattr('role') | list | length }}|{{ rows | selectattr('x', 'defined') | list }}|{{ rows | rejectattr('role', 'in', ['bot']) | map(attribute='n') | list }}|{{ rows | selectattr('role', '==', 'bot') | first }}
{{ loop is defined }}|{{ true and false or true }}|{{ True }}|{{ None }}|{{ False }}|{{ none }}
{{ loop }}
{{ {'a': 1, 'a': 2} }}|{{ {1: 'x', 'y': none}.keys() | list }}|{{ {'a': {'b': [true, none, 1.0]}} | tojson }}|{{ {'x': 1}['x'] }}|{{ {}.x is defined }}
{% raw %}{% if %}{{ }}{% endraw %}|{#- c -#}  x  {#- d #} y
{%- for m in rows %}    {%- if loop.index0 is divisibleby 2 %} <{{ m.role }}>    {%- endif %}  {%- endfor %}
{{ text }}|{{ text|trim|length }}|{{ '\n' }}
{% set x %}  body {{ n }} {% endset %}[{{ x }}][{{ x | trim }}]{% set y | upper %}abc{% endset %}{{ y }}
{{ [1, [2, [3]]] }}|{{ {'a': [], 'b': {}, 'c': ()} }}|{{ [none, true, 'a"b', "c'd"] }}|{{ ['\\n', '\r', '\u0001'] }}
{{ messages is defined }}{{ add_generation_prompt }}|{{ tools is none }}|{{ documents is none }}|{{ bos_token }}{{ eos_token }}{{ pad_token }}|{{ unk_token is defined }}
{{ rows | first | items | list }}|{{ rows[0].values() | list }}|{{ rows[0].items() | map('first') | list }}
{{ 'abc'[1:] ~ 'abc'[:-1] ~ 'abc'[-1] ~ 'abc'[5:] }}|{{ 'abc'[0:10] }}|{{ l[5:] }}|{{ l[10] is defined }}|{{ 'a'.join('xyz') }}
{{ rows | list | length }}|{{ rows | length * 2 }}|{{ rows | length // 2 }}|{{ not rows }}|{{ rows is mapping }}|{{ 1 in [1.0] }}|{{ '1' in [1] }}|{{ 'role' in rows[0] }}|{{ none in l }}
{{ raise_exception('a %s' % n) }}
{{ 'a' | indent(width='>>') }}|{{ 'a\nb' | indent('\t') }}|{{ 'x' | center(3) }}|{{ 'b' * 3 | length }}
{{ d.a[1].upper() }}|{{ d['a'] | last }}|{{ d.items() | first }}|{{ (d.items() | list)[0][0] }}|{{ (d | dictsort)[0] }}|{{ (d | dictsort | first)[1] }}
{{ 'a' if n == 7 and 'x' in 'xyz' and not no else 'b' }}|{{ n in (7, 8) }}|{{ n not in [1] }}|{{ 3 < n <= 7 }}|{{ n == '7' }}|{{ n | string == '7' }}
{{ s.removeprefix('Hello').lstrip(', ') }}|{{ s.casefold() }}|{{ s.replace(', ', '').find('W') }}|{{ s.rindex('o') }}
{{ [1, 2, 3].index(2) }}|{{ [3, 1, 2].count(1) }}|{{ [1,2].copy() }}|{{ 'x'.__len__() }}|{{ s.__class__ }}
{{ '%s' | format([1, 'a']) }}|{{ '%s' | format({'a': none}) }}|{{ '%-5s|%5s' | format('a', 'b') }}|{{ '%s, %s' % ('a', ('b', 1)) }}
"""


def snippets():
    lines = SNIPPETS.strip("\n").split("\n")
    # Lines that begin with a lower-case letter or a blank, and what is around them, are one template.
    i = lines.index("a")
    j = next(k for k in range(i, len(lines)) if lines[k].startswith(" e "))
    k = next(k for k in range(len(lines)) if lines[k].startswith("{% for x in [1, 2] %}{{ x }}:"))
    for at, line in enumerate(lines):
        if at == i:
            yield "\n".join(lines[i:j + 1])
        elif at == k:
            yield "\n".join(lines[k:k + 4])
        elif not (i < at <= j or k < at < k + 4):
            yield line


def render(source, chat, tools=None, documents=None, spans=True, **kwargs):
    try:
        chat = ctu._normalize_chat_messages(chat)
        [text], _ = ctu.render_jinja_template([chat], tools=tools, documents=documents, chat_template=source, **TOKENS, **kwargs)
        row = {"text": text}
        if spans and not kwargs.get("continue_final_message"):
            _, [found] = ctu.render_jinja_template([chat], tools=tools, documents=documents, chat_template=source,
                                                   return_assistant_tokens_mask=True, **TOKENS, **kwargs)
            row["generated"] = [text[a:b] for a, b in found]
        return row
    except Exception as e:  # noqa: BLE001
        return {"error": f"{type(e).__name__}: {e}"}


def main():
    rows = []
    for path in sorted(OUT.glob("*.jinja")):
        source = path.read_text()
        for (name, chat), prompt in itertools.product(CONVERSATIONS.items(), (False, True)):
            variants = [{}]
            if name in ("tools", "many-calls", "user"):
                variants.append({"tools": TOOLS})
            if "enable_thinking" in source and prompt:
                variants += [{"enable_thinking": False}, {"enable_thinking": True}]
            if "documents" in source and name == "user":
                variants.append({"documents": DOCUMENTS})
            if chat[-1]["role"] == "assistant" and not prompt:
                variants.append({"continue_final_message": True})
            for options in variants:
                options = {"add_generation_prompt": prompt} | options
                rows.append({"template": path.stem, "conversation": name, "options": options} | render(source, chat, **options))
    (OUT / "conversations.json").write_text(json.dumps(CONVERSATIONS, ensure_ascii=False, indent=1) + "\n")
    (OUT / "tools.json").write_text(json.dumps({"tools": TOOLS, "documents": DOCUMENTS}, ensure_ascii=False, indent=1) + "\n")
    for row in rows:
        for key in ("tools", "documents"):
            if key in row["options"]:
                row["options"][key] = True
    (OUT / "cases.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    failed = [r for r in rows if "error" in r]
    print(len(rows), "cases,", len(failed), "errors")
    lines = [{"source": s} | render(s, [], **VALUES) for s in snippets()]
    (OUT / "snippets.jsonl").write_text(json.dumps({"values": VALUES}, ensure_ascii=False) + "\n" + "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in lines))
    print(len(lines), "snippets,", [(r["source"][:40], r["error"][:60]) for r in lines if "error" in r])
    return failed


if __name__ == "__main__":
    for row in main():
        print(row["template"], row["conversation"], row["error"][:100])

"""Small templates (one a line) whose text in Python's Jinja is the standard that src/text/jinja is held to."""

DATA = {
    "s": "Hello, World",
    "empty": "",
    "uni": "Zoë 漢字 😀 ß",
    "quote": "it's \"so\"\n\ttab\\ \x7f\u200b",
    "n": 7,
    "f": 2.5,
    "t": True,
    "none": None,
    "xs": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "d": {"b": 1, "a": {"x": [1, 2.5, None, True]}, "items": "shadowed"},
    "people": [
        {"name": "ann", "age": 30, "tags": ["x", "y"]},
        {"name": "Bob", "age": 25, "tags": []},
        {"name": "cy", "age": 30},
    ],
}

PRINTING = r"""
{{ t }} {{ false }} {{ none }} {{ None }} {{ missing }}|{{ xs }}|{{ d }}
{{ 1.0 }} {{ 1e20 }} {{ 1e16 }} {{ 123456789.0 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1/3 }} {{ 2**-1 }} {{ -0.0 }}
{{ quote }}|{{ [quote] }}|{{ [uni] }}|{{ ['a"b', "a'b", 'a\'"b'] }}
{{ (1,) }} {{ (1, 2) }} {{ () }} {{ 1, 2 }} {{ [] }} {{ {} }} {{ {'a': 1, 2: 'b', none: true} }}
{{ namespace(a=1, b='x') }}
{{ 'a' 'b' "c" }} {{ "\x41\u00e9\n\t\\ \d \101" }}
{{ [missing] }}
{{ 1_000 }} {{ 0x1f }} {{ 0b101 }} {{ 0o17 }} {{ 1.5e3 }} {{ 1e2 }}
"""

ARITHMETIC = r"""
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 4 / 2 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }}
{{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 + true }} {{ 'a' * 3 }} {{ 3 * 'ab' }} {{ [1] * 3 }} {{ 'x' * 0 }} {{ 'x' * -1 }}
{{ [1] + [2] }} {{ (1,) + (2,) }} {{ 'a' + 'b' }} {{ 1 ~ 'a' ~ none ~ missing ~ 2.0 }} {{ (1 + 2) ~ 3 }} {{ 2 * 3 ~ 4 }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ '1' == 1 }} {{ [1, 2] < [1, 3] }} {{ 'a' < 'b' }}
{{ not 1 == 2 }} {{ not true and false }} {{ 1 or missing }} {{ 0 or 'x' }} {{ '' and 1 }}|{{ none or 0 }} {{ 1 if 0 }}|{{ 'a' if true else 'b' if true else 'c' }}
{{ 1 in xs }} {{ 9 not in xs }} {{ 'ell' in s }} {{ 'b' in d }} {{ 'zz' in d }} {{ 1 in missing }} {{ 2.0 in xs }}
{{ -n }} {{ +n }} {{ -f|abs }} {{ -3|abs }} {{ (-3)|abs }} {{ 5 is odd }} {{ -n is number }}
"""

LOOKUP = r"""
{{ d.b }} {{ d['b'] }} {{ d.a.x[1] }} {{ d['items'] }} {{ d.items() }} {{ d.missing }}|{{ d['missing'] }}|{{ xs[0] }} {{ xs[-1] }} {{ xs[9] }}|{{ xs.0 }}
{{ xs[1:] }} {{ xs[:-1] }} {{ xs[::-1] }} {{ xs[::2] }} {{ s[1:4] }} {{ s[::-1] }} {{ uni[4:7] }} {{ uni[-3] }} {{ uni|length }} {{ s[100:] }}|{{ s[-100:3] }}
{{ d.get('b') }} {{ d.get('q') }} {{ d.get('q', 5) }} {{ d.keys()|list }} {{ d.values()|list|length }} {{ d.get('a').get('x')|last }}
{{ xs.index(1) }} {{ xs.count(2) }} {{ people[0].name }} {{ people[0]['tags'][1] }} {{ people|map(attribute='tags')|first }}
{% set x = {'k': none} %}{{ x.k }} {{ x['k'] }} {{ x.get('k', 1) }} {{ x.k is none }} {{ x.z is defined }}
"""

STRINGS = r"""
{{ '  a b '.strip() }}|{{ ' a '.lstrip() }}|{{ ' a '.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'.strip('ab') }}
{{ s.split(', ') }} {{ 'a b  c '.split() }} {{ ' a b c'.split(none, 1) }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ''.split(',') }} {{ ''.split() }} {{ 'a b c '.rsplit(none, 1) }}
{{ s.startswith('He') }} {{ s.endswith(('x', 'ld')) }} {{ s.startswith('lo', 3) }} {{ s.replace('l', 'L') }} {{ s.replace('l', 'L', 1) }} {{ 'abc'.replace('', '-') }}
{{ s.upper() }} {{ s.lower() }} {{ 'hello wORLD it\'s'.title() }} {{ 'hELLO'.capitalize() }} {{ 'aBc'.swapcase() }} {{ uni.upper() }}
{{ s.find('o') }} {{ s.rfind('o') }} {{ s.find('zz') }} {{ s.count('l') }} {{ s.index('W') }} {{ uni.find('😀') }}
{{ ', '.join(words) }} {{ 'ab'.join('xyz') }} {{ '-'.join([]) }}|{{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ 'A'.isupper() }} {{ 'a'.islower() }} {{ 'ab'.isalpha() }} {{ ''.isdigit() }}
{{ '5'.zfill(3) }} {{ '-5'.zfill(4) }} {{ 'a'.ljust(3, '.') }} {{ 'a'.rjust(3) }}|{{ 'a'.center(4, '*') }}|{{ 'ab'.center(5, '*') }}
{{ 'a\nb\r\nc'.splitlines() }} {{ 'k=v=w'.partition('=') }} {{ 'k=v=w'.rpartition('=') }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.py'.removesuffix('.py') }}
{{ '{} {} {0}'.format(1, 2) if false else '{} and {}'.format(1, 'b') }} {{ '{a}-{b!r}'.format(a=1, b='x') }} {{ '{0[k]} {0.k}'.format({'k': 1}) if false else '{0[k]}'.format({'k': 1}) }}
{{ '%s is %d and %.2f %r %5s|%-5s|%05d %x %%' % ('a', 3, 1.005, 'q', 'r', 'l', 42, 255) }} {{ '%s' % 'one' }} {{ '%(a)s' % {'a': 1} }}
"""

FILTERS = r"""
{{ s|upper }} {{ s|lower }} {{ 'foo bar-baz (qux)'|title }} {{ 'ABC def'|capitalize }} {{ '  x '|trim }}|{{ 'xxaxx'|trim('x') }}|{{ 5|string + '!' }}
{{ xs|sort }} {{ xs|sort(reverse=true) }} {{ words|sort }} {{ words|sort(case_sensitive=true) }} {{ people|sort(attribute='age,name')|map(attribute='name')|list }} {{ people|sort(attribute='age', reverse=true)|map(attribute='name')|join(',') }}
{{ xs|first }} {{ xs|last }} {{ []|first }}|{{ 'abc'|first }} {{ xs|length }} {{ xs|count }} {{ xs|sum }} {{ people|sum(attribute='age') }} {{ xs|min }} {{ xs|max }} {{ words|max }} {{ xs|join }} {{ xs|join('-') }} {{ people|join(', ', attribute='name') }}
{{ xs|reverse|list }} {{ 'abc'|reverse }} {{ words|unique|list }} {{ [1, 1, 2]|unique|list }} {{ xs|list }} {{ 'abc'|list }} {{ d|list }} {{ d|items|list }} {{ missing|items|list }}
{{ missing|default('x') }} {{ none|default('x') }} {{ ''|default('x', true) }} {{ 0|d(5, boolean=true) }} {{ missing|d }}|{{ missing|length }} {{ missing|list }} {{ missing|join }}|
{{ people|selectattr('tags')|map(attribute='name')|list }} {{ people|selectattr('age', 'equalto', 30)|list|length }} {{ people|rejectattr('age', '>', 26)|map(attribute='name')|list }} {{ people|selectattr('tags', 'defined')|list|length }} {{ people|selectattr('tags', 'undefined')|map(attribute='name')|first }}
{{ xs|select('odd')|list }} {{ xs|reject('odd')|list }} {{ xs|select('in', [1, 2])|list }} {{ [0, 1, '']|select|list }} {{ words|map('upper')|list }} {{ words|map('replace', 'a', 'z')|join }} {{ people|map(attribute='tags', default='-')|list }}
{{ '3'|int }} {{ '3.9'|int }} {{ 'x'|int }} {{ 'x'|int(4) }} {{ 3.9|int }} {{ 'ff'|int(base=16) }} {{ '0x1f'|int(base=16) }} {{ none|int }} {{ '1.5'|float }} {{ 'x'|float }} {{ 3|float }} {{ 2.567|round(2) }} {{ 2.5|round }} {{ 3.5|round }} {{ 7|round }} {{ 2.1|round(method='ceil') }} {{ 2.9|round(0, 'floor') }} {{ -5|abs }}
{{ 'a\nb\n\nc'|indent }}|{{ 'a\nb'|indent(2, true) }}|{{ 'a\n\nb'|indent(2, blank=true) }}|{{ 'a\nb'|indent('> ') }}
{{ 'foo bar baz qux'|truncate(9) }} {{ 'foo bar baz qux'|truncate(9, true, '..', 0) }} {{ 'foo bar'|truncate(9) }} {{ 'a'|center(5) }}| {{ 'one two, three'|wordcount }} {{ '%s-%s'|format(1, 'b') }} {{ '%(a)s'|format(a=3) }}
{{ '<a href="x">&\''|e }} {{ '<b>'|safe }} {{ '<b>'|escape|length }} {{ 'a b/c?é&'|urlencode }} {{ {'a b': 'c/d'}|urlencode }}
{{ [1, 2, 3, 4, 5]|batch(2)|list }} {{ [1, 2, 3]|batch(2, 0)|list }} {{ [1, 2, 3, 4, 5]|slice(2)|list }} {{ [1, 2, 3]|slice(2, 'x')|list }}
{% for g in people|groupby('age') %}{{ g.grouper }}:{{ g.list|map(attribute='name')|join('+') }} {% endfor %}{% for k, v in people|groupby('age') %}{{ k }}{{ v|length }} {% endfor %}
{% for k, v in {'b': 1, 'A': 3, 'c': 2}|dictsort %}{{ k }}{{ v }} {% endfor %}{{ {'b': 1, 'a': 2}|dictsort(by='value', reverse=true) }} {{ people[0]|attr('name') }}|
"""

JSON = r"""
{{ d|tojson }}|{{ quote|tojson }}|{{ uni|tojson }}|{{ uni|tojson(ensure_ascii=true) }}|{{ none|tojson }} {{ true|tojson }} {{ 1.0|tojson }} {{ [1, 2.5, 'a']|tojson }} {{ '<&>\''|tojson }}
{{ d|tojson(indent=2) }}
{{ {'b': [], 'a': {}, 'c': [1]}|tojson(indent=4, sort_keys=true) }}
{{ d|tojson(separators=(',', ':')) }} {{ d|tojson(indent=1, separators=(', ', ' = ')) }} {{ {1: 2, none: 3, true: 4, 2.5: 5}|tojson }} {{ (1, 2)|tojson }} {{ [1]|tojson(indent='\t') }} {{ [1]|tojson(indent=0) }} {{ 1e20|tojson }} {{ 1e-7|tojson }}
"""

TESTS = r"""
{{ missing is defined }} {{ s is defined }} {{ none is none }} {{ missing is none }} {{ missing is undefined }} {{ s is string }} {{ n is string }} {{ n is number }} {{ t is number }} {{ n is integer }} {{ t is integer }} {{ f is float }} {{ t is boolean }} {{ t is true }} {{ 1 is true }} {{ false is false }}
{{ d is mapping }} {{ xs is mapping }} {{ xs is sequence }} {{ d is sequence }} {{ s is sequence }} {{ n is sequence }} {{ missing is sequence }} {{ xs is iterable }} {{ n is iterable }} {{ s is iterable }} {{ d is iterable }} {{ d.items is callable }} {{ s is callable }} {{ range is callable }}
{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 3 is eq 3 }} {{ 3 is equalto(4) }} {{ 3 is ne 4 }} {{ 3 is lt 4 }} {{ 3 is greaterthan 4 }} {{ 3 is ge 3 }} {{ 3 is in [1, 3] }} {{ 3 is not in [1, 3] }} {{ 'a' is lower }} {{ 'A' is upper }} {{ none is sameas none }} {{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }}
{{ s is not none and n is not defined }} {{ (s is string) and xs is not string }} {{ not s is string }} {{ s is string or boom.x }}
"""

LOOPS = r"""
{% for x in xs %}{{ loop.index }}/{{ loop.length }} {{ loop.index0 }} {{ loop.revindex }} {{ loop.revindex0 }} {{ loop.first }} {{ loop.last }} {{ loop.previtem }}|{{ loop.nextitem }}|{{ loop.cycle('o', 'e') }} {{ loop.depth }} {{ loop.changed(x) }};{% endfor %}
{% for x in xs if x > 1 %}{{ x }}{{ loop.length }}{% else %}none{% endfor %} {% for x in [] %}{% else %}empty{% endfor %} {% for x in xs if x > 9 %}{{ x }}{% else %}filtered{% endfor %} {% for c in 'añ😀' %}[{{ c }}]{% endfor %} {% for k in d %}{{ k }}{% endfor %} {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %} {% for x in missing %}x{% else %}undefined{% endfor %}
{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %} {% for x in xs %}{% break %}{% else %}else-after-break{% endfor %} {% for x in xs %}{% continue %}{% else %}else-after-continue{% endfor %}
{% set v = 'outer' %}{% for x in xs %}{{ v }}{% set v = x %}{{ v }} {% endfor %}{{ v }} {% set ns = namespace(total=0) %}{% for x in xs %}{% set ns.total = ns.total + x %}{% endfor %}{{ ns.total }}
{% for a, (b, c) in [(1, (2, 3)), (4, (5, 6))] %}{{ a }}{{ b }}{{ c }} {% endfor %}{% for x in range(1, 8, 3) %}{{ x }}{% endfor %} {% for x in range(3, 0, -1) %}{{ x }}{% endfor %} {% for x in xs recursive %}{{ x }}{% if x == 1 %}({{ loop([7, 8]) }}){{ loop.depth }}{% endif %}{% endfor %}
{% for x in xs %}{% for y in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}{% for x in (1, 2) %}{{ x }}{% endfor %}{% for x in 1, 2 %}{{ x }}{% endfor %}{% for x in xs[::-1] %}{{ x }}{% endfor %} {% for x in xs|sort if x is odd %}{{ x }}{% endfor %} {{ loop is defined }}
"""

BLOCKS = r"""
{% if n == 1 %}one{% elif n == 7 %}seven{% else %}other{% endif %} {% if missing %}a{% endif %}{% if not missing %}b{% endif %} {% if xs and d or none %}c{% endif %}
{% set a, b = 1, 2 %}{{ a }}{{ b }} {% set block %}x{{ n }}y{% endset %}{{ block }} {{ block|length }} {% set up | upper | replace('X', 'Q') %}x{{ n }}{% endset %}{{ up }} {% set (p, q) = (3, 4) %}{{ p + q }} {% set tup = 1, 2 %}{{ tup }}
{% macro m(a, b=2, c=a) %}[{{ a }},{{ b }},{{ c }}{{ varargs }}{{ kwargs }}]{% endmacro %}{{ m(1) }} {{ m(1, 3, 5, 6, z=7) }} {{ m(b=9, a=8) }} {{ m() }}
{% macro outer() %}<{{ caller('x') }}>{% endmacro %}{% call(v) outer() %}in {{ v }} {{ n }}{% endcall %} {% macro rec(k) %}{{ k }}{% if k > 0 %}{{ rec(k - 1) }}{% endif %}{% endmacro %}{{ rec(3) }} {% set late = 'L' %}{% macro sees() %}{{ late }}{{ s }}{% endmacro %}{% set late = 'M' %}{{ sees() }}
{% filter upper %}abc {{ s }}{% endfilter %} {% with x = 1, y = n %}{{ x }}{{ y }}{% endwith %}{{ x is defined }} {% raw %}{{ not }} {% if %}{% endraw %} {# a comment #}after {% generation %}gen {{ n }}{% endgeneration %} {% print n, 'p' %} {% block foo %}blk{% endblock foo %}
{{ dict(a=1, b=2) }} {{ dict([('a', 1)]) }} {{ range(3)|list }} {% set j = joiner(';') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %} {% macro m(a, b, c) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(*[1, 2], **{'c': 3}) }} {% if true %}{% set inner = 5 %}{% endif %}{{ inner }}
"""

WHITESPACE = [
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n",
    "  {%- if true -%}  x  {%- endif -%}  y",
    "a {{- 'b' -}} c\n\n{{ 'd' }}\n",
    "a\n   {#- note -#}\n  b {# x #}\n c",
    "  {%+ if true %}x{% endif +%}\n y",
    "line\r\n{% if true %}\r\nx{% endif %}\r",
    "\t{% for x in [1,2] %}\n\t{{ x }}\n\t{% endfor %}\nend",
    "x{% if true %} \n y{% endif %}   \n{{ 1 }}\n\n",
    "{% raw %}\n  {{ x }}\n{% endraw %}\nq",
    "{%- raw -%}  a {% endraw -%}  b",
    "a\n\n  {% set x = 1 %}  {{ x }}",
    "{{ {'a': {'b': 1}}.a.b }}{{ '}}' }}{% set x = '%}' %}{{ x }}",
    "  {# one #}  {% set y = 2 %}\n  {{ y }}",
    "a-}\nb {% if true -%}\n\n c{%- endif %}\n{{- 'x' }}",
    "\u00a0{% if true %}\u00a0{%- endif %}z",
]

ERRORS = [
    "{{ missing.x }}", "{{ missing + 1 }}", "{{ 1 + 'a' }}", "{{ 1 + 2 ~ 3 }}", "{{ 1 < 'a' }}", "{{ none.x.y }}", "{{ n() }}",
    "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}",
    "{{ s|nofilter }}", "{{ s is notest }}", "{% if %}{% endif %}", "{% for x in xs %}", "{{ 1 +", "{{ 'a' }",
    "{% unknown %}", "{% endif %}", "{{ s.upper( }}", "{{ [1, }}", "{% set x.y = 1 %}", "{{ 1 // 0 }}", "{{ xs.append(1) }}",
    "{{ d.update({}) }}", "{{ missing() }}", "{{ missing|tojson }}", "{{ 'x' in n }}", "{{ 1 in 'abc' }}", "{{ ''.split('') }}",
    "{% break %}", "{{ {[]: 1} }}", "{% include 'x' %}", "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{% endmacro %}{{ f(b=1) }}", "{{ range(1000000)|length }}", "{{ [3, 'a']|sort }}", "{{ 'a' * 'b' }}",
    "{{ -'a' }}", "{{ x is defined is none }}", "{% set true = 1 %}", "{{ '%d' % 'a' }}", "{{ namespace(_a=1) }}", "{{ s.foo() }}",
    "{# open", "{% raw %}", "{{ a b }}", "{{ f(a=1, 2) }}", "{{ 'a' 1 }}", "{{ 3|items|list }}", "{% raw %} x", "{{ raise_exception('no: ' ~ n) }}",
    "{{ (1, 2 }}", "{{ 1 if }}", "{% macro f(a=1, b) %}{% endmacro %}", "{{ xs[1:2:0] }}", "{{ None + 'a' }}", "{{ 'a' + none }}",
]

TIMES = "{{ strftime_now('%Y-%m-%d %H:%M:%S.%f %y %B %b %A %a %j %I %p %e %-d %-m %-H %-I %F %T %D %R %c %x %X %u %w %U %W %n%t%% %C %h %^a %_m') }}"

SNIPPETS = {
    "printing": PRINTING, "arithmetic": ARITHMETIC, "lookup": LOOKUP, "strings": STRINGS, "filters": FILTERS,
    "json": JSON, "tests": TESTS, "loops": LOOPS, "blocks": BLOCKS,
}

"""Small template sources for make_template_goldens.py, in groups: each is rendered by jinja2 and by our engine.

An entry is a source text; it sees the variables of VARIABLES. Sources on which jinja2 fails are wanted too.
"""

VARIABLES = {
    "a": 1, "b": 2, "n": 0, "neg": -7, "f": 1.5, "big": 1e22, "t": True, "no": False, "nil": None,
    "s": "Hello World", "empty": "", "u": "Grüße, 世界 🙂 ß", "sp": "  \t padded \n ", "ml": "one\ntwo\r\n\nthree",
    "l": [3, 1, 2], "words": ["banana", "Apple", "cherry", "apple"], "nested": [[1, 2], [3, [4, 5]]], "el": [],
    "d": {"x": 1, "y": {"z": [1, 2, {"w": "deep"}]}, "items": "shadowed"}, "ed": {},
    "users": [{"name": "Ann", "age": 31, "tags": ["x"]}, {"name": "bob", "age": 25}, {"name": "Cid", "age": 31, "ok": True}],
    "q": "it's \"quoted\" \\ back\u00a0slash\u200b", "num": "42", "fl": "3.75",
    "schema": {"type": "function", "function": {"name": "get", "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "enum": ["Köln", "<b>&'"]}, "days": {"type": "integer", "default": 3}}, "required": []}}},
    "floats": [0.1, 1e-5, 123456789.123, 1e16, 5e-324, 100.0, -0.0, 1e15, 2.5, 1234567890123456789.0],
}


def expressions(text):
    return ["{{ " + line.strip() + " }}" for line in text.strip().splitlines() if line.strip()]


UNITS = []

# Literals and printing
UNITS += expressions(r"""
1
-1
1_000
0x1F
0b101
0o17
00
1.5
1e3
1.5e-7
1e100
true
True
none
None
false ~ none ~ true
'single'
"double"
'a' "b" 'c'
'it\'s'
"tab\tnl\nq\"\\x"
'\x41\u00e9\U0001F600\101'
'\q\d'
'\é\世'
'line\
joined'
[1, 'a', none, true, 1.0]
[1, 2,]
(1, 2)
(1,)
()
1, 2
{'a': 1, 'b': [1, 2]}
{'a': 1, 'a': 2}
{1: 'i', none: 'n', true: 't', 1.5: 'f', (1, 2): 'tup'}
{[1]: 2}
{}
[]
[[], {}, ()]
['it\'s', "q\"q", 'both\'"', 'nl\n\t\r\x00\x7f', 'é世🙂', '\u200b\u00a0']
u
q
[q, u]
floats
floats|tojson
big
-0.0
1.0
10 ** 15 * 1.0
1e15 + 0.5
0.1 + 0.2
1 / 3
2 / 2
7 // 2
-7 // 2
7 % 3
-7 % 3
7 % -3
7.5 // 2
-7.5 % 2
2 ** 10
2 ** -1
2 ** 0.5
2 ** 3 ** 2
-2 ** 2
--1
+t
-t
t + t
1 / 0
1 // 0
1 % 0
1.0 / 0
9223372036854775807
1 + 2 * 3 - 4
(1 + 2) * 3
'a' + 'b' * 3
3 * 'ab'
-1 * 'ab'
[1] + [2, 3]
[1, 2] * 2
(1,) + (2,)
'a' + 1
1 + 'a'
'a' - 'b'
[1] + (2,)
nil + 'a'
missing + 'a'
'a' + missing
'a' ~ 1 ~ none ~ 1.5 ~ [1, 'x']
missing ~ 'x'
1 ~ 2 + 3
""")

# Comparison, logic, membership
UNITS += expressions(r"""
1 < 2
1 < 2 < 3
1 < 3 < 2
1 == 1.0
1 == true
'1' == 1
'a' < 'b'
'Z' < 'a'
'é' > 'z'
[1, 2] < [1, 3]
[1, 2] == [1, 2]
(1, 2) == [1, 2]
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
1 != 2
1 <= 1 >= 1
1 < 'a'
none < 1
[1] < ['a']
missing == missing2
missing == none
missing < 1
not 1
not missing
not not 'x'
not 1 == 2
1 and 2
0 and 2
'' or 'default'
[] or {} or 'last'
missing or 'x'
none and missing
1 or missing.foo
1 if t else 2
1 if no else 2
1 if no
(1 if no) is defined
1 if no else 2 if no else 3
'a' if 1 if 0 else 1 else 'b'
'b' in 'abc'
'' in 'abc'
1 in [1, 2]
1.0 in [1, 2]
'x' in d
'q' in d
'x' not in d
1 not in [1]
not 1 in [1]
1 in 'abc'
1 in none
1 in missing
'x' in missing
[1] in [[1], 2]
[1] in d
'a' in ('a', 'b')
3 in range(5)
5 in range(5)
(1 in [1]) == true
1 in [1] == true
'a' 'b' in 'xaby'
""")

# Attributes, items, slices
UNITS += expressions(r"""
d.x
d['x']
d.y.z[2].w
d['y']['z'][2]['w']
d.items
d['items']
d.items()|list
d.missing
d.missing is defined
d.missing.more
d['missing']['more']
nil.x
nil['x']
missing.x
missing['x']
missing[0]
l[0]
l[-1]
l[-3]
l[3]
l[-4]
l['x']
l[true]
l[1.0]
l.0
nested.1.1.0
s[0]
s[-1]
s[99]
u[0:5]
u[-1]
u[2]
u[::-1]
s[2:5]
s[:-3]
s[-3:]
s[::2]
s[5:2]
s[5:2:-1]
s[::-2]
s[100:]
s[-100:3]
l[1:]
l[:1]
l[::-1]
l[::0]
l[none:none]
l['a':]
(1, 2, 3)[1:]
range(10)[2:8:2]
range(10)[2:8:2]|list
range(10)[::-1]|list
range(10)[3]
range(10)[-1]
range(10)[10]
nil[1:]
missing[1:]
d[1:]
d[[1]]
5[0]
s.upper
s['upper']()
d.get('x')
d.get('q')
d.get('q', 'dflt')
d.get('y').z
d.get()
d.keys()
d.values()
ed.items()
d.keys()|list
'x' in d.keys()
d.keys()[0]
d.keys()|length
d.pop('x')
d.update({'a': 1})
l.append(4)
l.append
l.append is defined
l.index(2)
l.index(9)
l.count(1)
l.copy()
s.__class__
s.__class__ is defined
d._x
''.__class__.__mro__
(1).foo
l.length
""")

# String methods
UNITS += expressions(r"""
s.upper()
s.lower()
u.upper()
u.lower()
u.title()
u.capitalize()
'ΑΣ ΑΣΑ'.lower()
s.swapcase()
'they\'re bill\'s friends'.title()
'hELLO wORLD'.capitalize()
sp.strip()
[sp.lstrip()]
[sp.rstrip()]
'xxhixx'.strip('x')
'abcba'.strip('ab')
'xyhixy'.lstrip('yx')
'xyhixy'.rstrip('yx')
'éaé'.strip('é')
'\u3000\u00a0x\x1f'.strip()
' a  b c '.split()
' a  b c '.split(' ')
'a,b,c'.split(',')
'a,b,c'.split(',', 1)
'a b  c d'.split(none, 2)
'a,b,c'.split(sep=',', maxsplit=1)
'a,b,c'.rsplit(',', 1)
' a  b c '.rsplit(none, 1)
' a  b c '.split(none, 1)
range(10).stop
range(10)[::-2]
range(0, 10, 3)[1:]
range(3, 0)[0:5]
''.split()
''.split(',')
'abc'.split('')
'</think>x</think>y'.split('</think>')[-1]
'a</think>b'.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n')
ml.splitlines()
ml.splitlines(true)
'a-b-c'.replace('-', '+')
'a-b-c'.replace('-', '+', 1)
'abc'.replace('', '.')
'abc'.replace('', '.', 2)
'aaa'.replace('a', 'aa')
s.startswith('Hello')
s.startswith(('x', 'He'))
s.startswith('World', 6)
s.endswith('World')
s.endswith(('d', 'x'))
s.endswith('Hello', 0, 5)
s.startswith(1)
s.startswith('')
s.find('o')
s.find('zzz')
s.rfind('o')
u.find('世')
s.find('o', 5)
s.index('W')
s.index('zzz')
s.count('l')
'aaaa'.count('aa')
'abc'.count('')
','.join(['a', 'b'])
','.join('abc')
','.join([1, 2])
', '.join(words)
''.join([])
'42'.isdigit()
'4.2'.isdigit()
''.isdigit()
'abc'.isalpha()
'ab1'.isalnum()
'ab 1'.isalnum()
' \t'.isspace()
'ABC'.isupper()
'abc1'.islower()
'42'.zfill(5)
'-42'.zfill(5)
'ab'.ljust(5, '.')
'ab'.rjust(5) ~ '|'
'ab'.center(7, '*')
'abc'.center(6, '*')
'abc'.center(7, '*')
'a=b=c'.partition('=')
'a=b=c'.rpartition('=')
'abc'.partition('x')
'abc'.rpartition('x')
'prefix-x'.removeprefix('prefix-')
'x.txt'.removesuffix('.txt')
'{} and {}'.format(1, 'b')
'{0} {1} {0}'.format('a', 'b')
'{name} is {age:>5}'.format(name='Al', age=3)
'{:.2f}|{:5d}|{:<5}|{:^7}|{:>4}'.format(3.14159, 42, 'ab', 'mid', 'r')
'{:05d}|{:+d}|{:,}|{:x}|{:#x}|{:b}'.format(42, 42, 1234567, 255, 255, 5)
'{:e}|{:g}|{:%}|{!r}|{!s}'.format(12345.678, 0.0001, 0.25, 'r', 's')
'{{literal}} {}'.format(1)
'{0[x]} {0[y][z][0]}'.format(d)
'{a.name}'.format(a=users[0])
'{} {}'.format(1)
'{'.format(1)
'{:*^9}'.format('é')
'{:.3}'.format('abcdef')
'{:.3}'.format(3.14159)
'%s and %d' % ('a', 5)
'%s' % 'one'
'%5.2f|%-5s|%05d|%x|%%' % (3.14159, 'ab', 42, 255)
'%(k)s=%(v)d' % {'k': 'key', 'v': 3}
'%s %s' % ('a',)
'%d' % 'a'
'%d' % 3.99
'%r' % ['x']
'%s' % [1, 2]
'no' % 1
'%+d % d' % (5, 6)
'%s' % missing
s.nosuch()
s.nosuch
5.upper()
""")

# Filters
UNITS += expressions(r"""
s|upper
5|upper
missing|upper
s|lower
'hello wORLD'|capitalize
'foo-bar baz (qux) <b>'|title
"it's a test_case éa"|title
sp|trim
'xxaxx'|trim('x')
5|trim
[sp|trim]
s|length
u|length
l|count
d|length
missing|length
5|length
none|length
l|first
l|last
''|first
el|first
el|first is defined
el|last|default('none left')
u|first
u|last
d|first
l|sort
l|sort(reverse=true)
words|sort
words|sort(case_sensitive=true)
users|sort(attribute='age')|map(attribute='name')|list
users|sort(attribute='age,name')|map(attribute='name')|list
users|sort(attribute='age', reverse=true)|map(attribute='name')|list
[1, 'a']|sort
'hello'|sort|join
words|unique|list
words|unique(case_sensitive=true)|list
[1, 1.0, true, 2]|unique|list
[[1], [1]]|unique|list
users|unique(attribute='age')|map(attribute='name')|list
l|reverse|list
'abc'|reverse
u|reverse
d|reverse|list
missing|reverse|list
5|reverse
l|min
l|max
words|min
el|min
el|max is defined
users|max(attribute='age')
[1, 'a']|max
l|sum
[0.1, 0.2]|sum
users|sum(attribute='age')
users|sum('age', 100)
['a', 'b']|sum
[[1], [2]]|sum(start=[])
l|join
l|join(', ')
users|join(', ', attribute='name')
[1, none, true, missing, 'x']|join('-')
missing|join(',')
5|join
'abc'|join('.')
d|join(',')
'abc'|list
d|list
5|list
none|list
missing|list
missing|default('x')
missing|d('x')
missing|default
nil|default('x')
nil|default('x', true)
''|default('x', boolean=true)
d.q|default('x')
d.q.r|default('x')
'42'|int
'42.9'|int
'abc'|int
'abc'|int(7)
'abc'|int(default=7)
'ff'|int(0, 16)
'0xff'|int(base=16)
' 1_000 '|int
'1__0'|int
3.99|int
-3.99|int
none|int
none|int(default='dflt')
true|int
[]|int
missing|int
'3.5'|float
'abc'|float
'abc'|float(1.5)
'1e3'|float
' .5 '|float
'inf'|float
'nan'|float
'1_0.5'|float
5|float
none|float
5|string
[1, 'a']|string
missing|string
42.55|round
42.55|round(1)
2.675|round(2)
0.5|round
1.5|round
2.5|round
-2.5|round
42.55|round(1, 'floor')
42.55|round(1, 'ceil')
42|round
42|round(-1)
45|round(-1)
55|round(-1)
1234.5|round(-2)
42|round(1, 'floor')
'x'|round
42|round(1, 'bogus')
-5|abs
-5.5|abs
true|abs
'x'|abs
'a-b'|replace('-', '+')
'aaa'|replace('a', 'b', 2)
123|replace(2, 9)
'abc'|replace('', '.')
ml|indent
ml|indent(2)
ml|indent(2, true)
ml|indent('> ', first=true, blank=true)
ml|indent(width=1, blank=true)
''|indent
5|indent
'foo bar baz qux'|truncate(9)
'foo bar baz qux'|truncate(9, true)
'foo bar baz qux'|truncate(11)
'foo bar baz qux'|truncate(11, false, '...', 0)
'foo bar baz qux'|truncate(2)
'one two, three-four é'|wordcount
'ab'|center(6) ~ '|'
'%s-%s'|format('a', 1)
'%(x)s'|format(x=1)
'<a href="x">\'&'|e
'<b>'|escape
'<b>'|safe
'<b>'|safe|e
'<b>'|e|e
'<b>'|forceescape
('<b>'|safe) + '<i>'
'<i>' + ('<b>'|safe)
('<b>'|safe) ~ '<i>'
['<b>'|safe]
('a'|safe) is escaped
'a' is escaped
schema|tojson
schema|tojson(indent=2)
schema|tojson(indent=0)
schema|tojson(indent='-')
schema|tojson(true)
schema|tojson(ensure_ascii=true)
schema|tojson(separators=(',', ':'))
schema|tojson(sort_keys=true)
[]|tojson(indent=2)
{'a': [], 'b': {}}|tojson(indent=2)
u|tojson
q|tojson
'\x00\x1f\x7f\b\f</script>'|tojson
'\U0001F600é'|tojson(ensure_ascii=true)
none|tojson
1.0|tojson
(1, 2)|tojson
{1: 2, none: 3, true: 4, 1.5: 5}|tojson
{(1, 2): 3}|tojson
missing|tojson
[missing]|tojson
'nan'|float|tojson
range(3)|tojson
range(3)|list|tojson
users|map(attribute='name')|join(', ')
users|map(attribute='ok')|list
users|map(attribute='ok', default='-')|list
users|map(attribute='tags.0')|list
users|map(attribute='tags.0')|join('|')
users|map(attribute='ok.x')|list
words|map('upper')|list
words|map('replace', 'a', 'o')|list
words|map('bogus')|list
l|map('string')|join
missing|map('upper')|list
none|map('upper')|list
words|map|list
nested|map('first')|list
l|select|list
[0, 1, '', 'x', none]|select|list
[0, 1, '', 'x', none]|reject|list
l|select('odd')|list
l|reject('odd')|list
l|select('gt', 1)|list
l|select('>', 1)|list
l|select('in', [1, 2])|list
words|select('equalto', 'Apple')|list
words|select('==', 'Apple')|list
l|select('bogus')|list
users|selectattr('ok')|map(attribute='name')|list
users|rejectattr('ok')|map(attribute='name')|list
users|selectattr('ok', 'defined')|map(attribute='name')|list
users|selectattr('age', 'equalto', 31)|map(attribute='name')|list
users|rejectattr('name', 'eq', 'bob')|list|length
users|selectattr('age', 'ge', 30)|list|count
users|selectattr|list
(users|selectattr('age', 'equalto', 99)) and 'always true'
users|selectattr('age', 'equalto', 99)|list and 'never'
users|selectattr('ok')|first
users|selectattr('ok')|last
users|selectattr('ok')|length
(users|selectattr('ok'))[0]
d|items|list
d.y|items|first
missing|items|list
5|items|list
{'b': 1, 'A': 3, 'c': 2}|dictsort
{'b': 1, 'A': 3, 'c': 2}|dictsort(true)
{'b': 1, 'A': 3, 'c': 2}|dictsort(false, 'value')
{'b': 1, 'A': 3, 'c': 2}|dictsort(reverse=true, by='value')
l|dictsort
users|groupby('age')|list
users|groupby('age')|map(attribute='grouper')|list
users|groupby('ok', default='')|map('first')|list
words|groupby('0')|list
range(7)|batch(3)|list
range(7)|batch(3, 'x')|list
range(7)|slice(3)|list
range(7)|slice(3, 'x')|list
range(2)|slice(3)|list
s|attr('upper')
d|attr('x')
d|attr('x') is defined
'a b/c?d=é'|urlencode
{'k y': 'v/&', 'b': 1}|urlencode
s|bogus
s|upper|bogus
s|upper|lower|title|replace('l', 'L')|length
(s|upper)[0:3]
s|upper()[0]
-5|abs + 1
'a' ~ 'b'|upper
l|length - 1
l|length > 2 and s|length == 11
""")

# Tests
UNITS += expressions(r"""
missing is defined
s is defined
missing is undefined
missing is not defined
not missing is defined
nil is none
nil is not none
missing is none
s is string
5 is string
5 is number
5.0 is number
true is number
'5' is number
5 is integer
5.0 is integer
true is integer
5.0 is float
true is boolean
1 is boolean
true is true
1 is true
false is false
0 is false
d is mapping
l is mapping
l is iterable
s is iterable
5 is iterable
d is iterable
missing is iterable
none is iterable
l is sequence
s is sequence
d is sequence
5 is sequence
range(3) is sequence
(l|map('string')) is sequence
(l|map('string')) is iterable
3 is odd
4 is odd
4 is even
3.0 is odd
'a' is odd
6 is divisibleby 3
6 is divisibleby(4)
6 is divisibleby 0
5 is eq 5
5 is equalto 5
5 is sameas 5
none is sameas none
5 is ne 6
5 is lt 6
5 is lessthan 6
5 is gt 6
5 is greaterthan 6
5 is le 5
5 is ge 5
'a' is in ['a', 'b']
'a' is in 'cat'
'ABC' is upper
'abc' is lower
'1' is lower
range is callable
s is callable
s.upper is callable
'upper' is filter
'bogus' is filter
'odd' is test
s is bogus
s is not bogus
5 is defined is defined
5 is number and 6 is number
5 is divisibleby 5 or no
s is string if t else 'x'
l is defined and l[0] is number
missing is defined and missing is bogus
messages is defined
tools is defined
tools is none
""")

# Globals and calls
UNITS += expressions(r"""
range(5)|list
range(2, 5)|list
range(10, 0, -3)|list
range(0)|list
range(5)
range(1, 10, 2)
range(1.5)
range()
range(1, 2, 0)
range(100001)
range(1000000000000)
range(5)|length
range(5)|last
dict(a=1, b=2)
dict({'a': 1}, b=2)
dict([('a', 1), ('b', 2)])
dict(d.y)
dict(**d.y)
dict(5)
namespace(a=1, b='x')
namespace({'a': 1}, b=2).b
namespace().x
namespace(a=1).a
namespace(a=1)['a']
namespace(a=1)|tojson
raise_exception('stop: ' ~ a)
raise_exception("Conversation roles must alternate user/assistant/user/assistant/...")
raise_exception()
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y, %H:%M:%S %A %B %j %p %I %y %w %%')
strftime_now('%-d/%-m')
cycler('a', 'b').next()
cycler()
joiner()()
s.split(*[' ', 1])
s.split(**{'sep': 'o', 'maxsplit': 1})
s.split(*l)
s('x')
5()
missing()
d.x()
nosuchfunction(1)
dict(a=1, a=2)
dict(1, 2)
s.upper(1)
s.split(nosuch=1)
'a'.join()
loop is defined
caller is defined
""")

# Statements
UNITS += [
    "{% if a %}yes{% endif %}",
    "{% if n %}yes{% elif b == 2 %}elif{% else %}no{% endif %}",
    "{% if n %}1{% elif no %}2{% elif nil %}3{% else %}4{% endif %}",
    "{% if missing %}x{% endif %}|",
    "{% if a: %}colon{% endif %}",
    "{% for x in l %}{{ x }},{% endfor %}",
    "{% for x in [] %}x{% else %}empty{% endfor %}",
    "{% for x in missing %}x{% else %}empty{% endfor %}",
    "{% for x in none %}x{% endfor %}",
    "{% for x in 5 %}x{% endfor %}",
    "{% for c in u %}[{{ c }}]{% endfor %}",
    "{% for k in d %}{{ k }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|dictsort %}{{ k }};{% endfor %}",
    "{% for a, b in [(1, 2), [3, 4], 'xy'] %}{{ a }}-{{ b }} {% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "{% for a, b in [1] %}{{ a }}{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for x in l %}{{ loop.cycle('odd', 'even') }} {% endfor %}",
    "{% for x in [1, 1, 2, 2] %}{% if loop.changed(x) %}{{ x }}{% endif %}{% endfor %}",
    "{% for x in l %}{{ loop.nosuch }}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
    "{% for x in l %}{{ loop }} {% endfor %}",
    "{% for x in l %}{{ loop|length }}{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}",
    "{% for x in l if x > 9 %}x{% else %}none{% endfor %}",
    "{% for x in l if x is odd and x != 1 %}{{ x }}{% endfor %}",
    "{% for u in users if u.ok %}{{ u.name }}{% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}:{{ loop.index }} {% endfor %}",
    "{% for x in l %}{% set outer = loop %}{% for y in [1] %}{{ outer.index }}{{ loop.index }}{% endfor %} {% endfor %}",
    "{% for x in range(6) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% break %}{% else %}else after break{% endfor %}",
    "{% for x in l %}{{ x }}{% if loop.last %}{% break %}{% endif %}{% else %}no else{% endfor %}",
    "{% for x in l %}{% continue %}{% else %}else after continue{% endfor %}",
    "{% break %}",
    "{% if t %}{% continue %}{% endif %}",
    "{% for n in nested recursive %}{% if n is sequence %}[{{ loop(n) }}]{% else %}{{ n }}@{{ loop.depth }} {% endif %}{% endfor %}",
    "{% for x in l %}{{ loop([1]) }}{% endfor %}",
    "{% set x = 1 %}{{ x }}",
    "{% set x = 1, 2 %}{{ x }}",
    "{% set x, y = 1, 2 %}{{ x }}{{ y }}",
    "{% set (x, y) = [1, 2] %}{{ x }}{{ y }}",
    "{% set x, y = 1 %}{{ x }}",
    "{% set x = 5 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}",
    "{% for i in l %}{{ y is defined }}{% set y = i %}{{ y }} {% endfor %}{{ y is defined }}",
    "{% if t %}{% set x = 'in if' %}{% endif %}{{ x }}",
    "{% if no %}{% set x = 'in if' %}{% endif %}{{ x is defined }}",
    "{% set a = a + 1 %}{{ a }}",
    "{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=0) %}{% set ns.y = 2 %}{{ ns.y }}{{ ns.z is defined }}{{ ns }}",
    "{% set ns.x = 1 %}",
    "{% set d.x = 1 %}",
    "{% set ns = namespace(found=false) %}{% for x in l if not ns.found %}{{ x }}{% set ns.found = true %}{% endfor %}",
    "{% set true = 1 %}",
    "{% set 5 = 1 %}",
    "{% set x %}block {{ a }}{% endset %}[{{ x }}]",
    "{% set x | upper | replace('B', 'c') %}b{{ s }}{% endset %}[{{ x }}]",
    "{% set x %}{% set inner = 1 %}{% endset %}{{ inner is defined }}",
    "{% set ns = namespace() %}{% set ns.x %}blk{% endset %}{{ ns.x }}",
    "{% macro m(x, y=2) %}<{{ x }},{{ y }}>{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(y=5, x=4) }}{{ m() }}",
    "{% macro m(x) %}{{ x is defined }}{% endmacro %}{{ m() }}{{ m(none) }}",
    "{% macro m(x, y=x) %}{{ x }}{{ y }}{% endmacro %}{{ m(1) }}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(z=2) }}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(1, x=2) }}",
    "{% macro m(x=1, y) %}{% endmacro %}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k=3) }}",
    "{% macro m(x) %}{{ x }}{{ varargs|join('+') }}{% endmacro %}{{ m(1, 2, 3) }}",
    "{% macro m() %}{{ a }}{{ later }}{% endmacro %}{% set later = 'L' %}{{ m() }}",
    "{% macro m() %}{% set a = 9 %}{{ a }}{% endmacro %}{{ m() }}{{ a }}",
    "{% macro fact(k) %}{% if k <= 1 %}1{% else %}{{ k * fact(k - 1)|int }}{% endif %}{% endmacro %}{{ fact(10) }}",
    "{% macro m() %}x{% endmacro %}{{ m()|upper ~ m() }}{{ m is callable }}{{ m() is string }}",
    "{% macro m() -%}   trimmed   {%- endmacro %}[{{ m() }}]",
    "{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}{{ m is defined }}",
    "{% macro outer() %}{% macro inner(z) %}({{ z }}{{ a }}){% endmacro %}{{ inner(1) }}{% endmacro %}{{ outer() }}",
    "{% macro dialog(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call dialog('x') %}body {{ a }}{% endcall %}",
    "{% macro each(xs) %}{% for x in xs %}{{ caller(x, loop.index) }}{% endfor %}{% endmacro %}{% call(v, i) each(l) %}{{ i }}={{ v }};{% endcall %}",
    "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
    "{% macro m() %}no caller{% endmacro %}{% call m() %}x{% endcall %}",
    "{% call 5 %}{% endcall %}",
    "{% filter upper %}abc {{ s }}{% endfilter %}",
    "{% filter replace('a', 'b') | upper %}aXa{% endfilter %}",
    "{% filter trim %}\n\n  x  \n{% endfilter %}|",
    "{% with x = 1, y = 2 %}{{ x }}{{ y }}{% endwith %}{{ x is defined }}",
    "{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z is defined }}",
    "{% with a = 5, b = a %}{{ a }}{{ b }}{% endwith %}",
    "{% print 'p', a %}",
    "{% generation %}gen {{ a }}{% set q2 = 1 %}{% endgeneration %}{{ q2 is defined }}",
    "{% for m in l %}{% generation %}{{ m }}{{ loop.index }}{% endgeneration %}{% endfor %}",
    "{% set c = cycler('a', 'b', 'c') %}{% for i in range(5) %}{{ c.next() }}{% endfor %}{{ c.current }}{{ c.reset() }}{{ c.current }}",
    "{% set j = joiner('; ') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}",
    "{% set it = l|map('string') %}{{ it|join(',') }}|{{ it|join(',') }}",
    "{% set it = l|select('odd') %}{{ it|first }}{{ it|first }}{{ it|first is defined }}",
    "{% if users|selectattr('name', 'equalto', 'zed') %}generators are true{% endif %}",
    "{% if users|selectattr('name', 'equalto', 'zed')|list %}no{% else %}lists are not{% endif %}",
    "{% if no %}{{ s|bogus }}{% endif %}ok",
    "{% if no %}{{ s is bogus }}{% endif %}ok",
    "{% if t %}{{ s|bogus }}{% endif %}",
    "{{ s|bogus if no else 'ok' }}",
    "{% for x in [] %}{{ x|bogus }}{% endfor %}",
    "{# comment #}x{# multi\nline #}y",
    "{#- trim -#}  x  {#- trim -#}",
    "{% raw %}{{ raw }} {% if %}{# c #}{% endraw %}",
    "a {%- raw -%}  {{ x }}  {%- endraw -%} b",
    "  {% raw %}\nx\n  {% endraw %}\ny",
    "a\n{% raw %} {{ b }} {% endraw %}\n",
    "{{ '{{' }}{{ '}}' }}{{ '{%' }}",
    "{{ {'a': {'b': 1}}.a.b }}",
    "{{ {'a': {'b': 1}} }}",
    "{{ '%}' }}{% if '%}' %}x{% endif %}",
    "{ { } } {a} % } #}",
    "}} %} #}",
]

# White space control
UNITS += [
    "  {% if t %}\n  x\n  {% endif %}\n  y\n",
    "a  {%- if t -%}  b  {%- endif -%}  c",
    "a  {{- 1 -}}  b",
    "a\n  {{ 1 }}\n  b",
    "a\n  {{- 1 }}\n  b",
    "a\n  {%+ if t %}\n  x{% endif %}",
    "a {% if t +%}\nx{% endif %}",
    "{% if t %}\n\n\nx\n\n{% endif %}\n\n",
    "x\n",
    "x\n\n",
    "x\r\ny\rz\r\n",
    "{% set x = 1 %}\n{% set y = 2 %}\n{{ x }}\n{{ y }}\n",
    "{# c #}\nx\n  {# c #}\n  y",
    "a {# c #} b\n",
    "  {#- c #}  b",
    "{% for x in l %}\n  {{ x }}\n{% endfor %}\n",
    "{%- for x in l %}\n  {{- x }}\n{%- endfor %}\n",
    "\t {% if t %}x{% endif %} \t\n",
    "x {% if t %}y{% endif %} z",
    "{% if t %} {% endif %}|",
    "\u00a0{% if t %}nbsp{% endif %}",
    "a\n\u3000{%- if t %}x{% endif %}",
    "{{ 1 }}\n{{ 2 }}\n\n{{ 3 }}",
    "{{ 1 }}  {% if t %}  {{ 2 }}  {% endif %}  {{ 3 }}",
    "  {% set x %}\n  b\n  {% endset %}\n[{{ x }}]",
    "{%-if t-%} x {%-endif-%} y",
    "{{-1-}}",
    "{{ - 1 }}",
    "{%- if t %}a{% endif -%}\n\n   b",
    "line{% if t %}\nmid\n{% endif %}end",
    "{{ 'a\n  b' }}",
    "{% if t %}a\n    {%- if t %}b{% endif %}\n    {%- endif %}c",
]

# In the manner of published chat templates (written for this test)
UNITS += [
    "{% for message in users %}{% if (message['name'] == 'Ann') != (loop.index0 % 2 == 0) %}{{ raise_exception('order') }}{% endif %}{{ '[' + message['name'] | trim + ']' }}{% endfor %}",
    "{% if s is string and s.startswith('Hello') and not s.endswith('!') %}{{ s.split(' ')[-1] | lower }}{% endif %}",
    "{%- set date = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' -%}{{ 'Today Date: ' + date }}",
    "{%- for t in [schema] %}{{- t | tojson(indent=4) }}{{- '\\n\\n' }}{%- endfor %}",
    "{%- set ns = namespace(system='', first=true) %}{%- for u in users %}{%- if ns.first %}{%- set ns.system = u.name %}{%- set ns.first = false %}{%- else %}{%- set ns.system = ns.system + '|' + u.name %}{%- endif %}{%- endfor %}{{ ns.system }}",
    "{%- macro strip_thinking(text) -%}{%- if '</think>' in text -%}{{- text.split('</think>')[-1] | trim -}}{%- else -%}{{- text | trim -}}{%- endif -%}{%- endmacro -%}{{ strip_thinking('<think>x</think>\\n\\nanswer ') }}",
    "{% set loop_messages = users[1:] if users[0].name == 'Ann' else users %}{% for m in loop_messages %}{{ m.name ~ loop.index0 }}{% endfor %}",
    "{%- for m in users[::-1] %}{% set index = (users|length - 1) - loop.index0 %}{{ index }}{{ m['name'] }} {% endfor %}",
    "{{ users | selectattr('age', 'gt', 30) | map(attribute='name') | map('upper') | join(', ') }}",
    "{%- if tools is not none and tools %}tools{% elif tools is none %}no tools{% endif %}",
    "{%- if not enable_thinking is defined %}{% set enable_thinking = true %}{% endif %}{{ enable_thinking }}",
    "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}",
    "{% for k, v in schema.function.parameters.properties.items() %}{{ k }}: {{ v.type }}{{ ' = ' ~ v.default if v.default is defined }}\n{% endfor %}",
    "{% for m in users %}{% if 'tags' in m and m.tags is iterable and m.tags is not string %}{% for t in m.tags %}{{ t }}{% endfor %}{% endif %}{% endfor %}",
    "{%- set x = {'role': 'user', 'content': s} -%}{{ x['content'] }}{{ x.role|capitalize }}{{ x|length }}",
    "{{ (s, u)|join(' / ') }}{{ [a, b, f]|map('float')|sum }}",
    "{% set total = namespace(v=0) %}{% for g, us in users|groupby('age') %}{{ g }}:{{ us|length }} {% endfor %}",
    "{{ '%s: %s' | format('k', d.x) }} {{ '{}-{}'.format(a, b) }}",
    "{% set parts = 'a<sep>b<sep>c'.split('<sep>') %}{% for p in parts %}{{ p }}{% if not loop.last %}, {% endif %}{% endfor %}",
]

# Syntax errors
UNITS += [
    "{{", "{{ 1", "{% if t %}", "{% if t %}x{% endfor %}", "{% endif %}", "{% else %}", "{% nosuch %}", "{% %}", "{{ }}",
    "{{ 1 + }}", "{{ (1 }}", "{{ 1) }}", "{{ [1, 2 }}", "{{ {'a' 1} }}", "{{ 'open }}", "{# open", "{% raw %}x", "{{ a b }}",
    "{{ a. }}", "{{ a[ }}", "{{ a| }}", "{{ a is }}", "{{ ! }}", "{{ a ? b : c }}", "{{ a && b }}", "{% for x l %}{% endfor %}",
    "{% for in l %}{% endfor %}", "{% for x in %}{% endfor %}", "{% set %}", "{% set x = %}", "{% set x = 1 y %}", "{% macro %}{% endmacro %}",
    "{% macro m %}{% endmacro %}", "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% do l %}", "{% if %}x{% endif %}",
    "{% for x in l %}{% else %}{% else %}{% endfor %}", "{{ 1 if }}", "{{ not }}", "{{ f(a=1, 2) }}", "{{ f(**d, 1) }}", "{{ @ }}", "{{ a = 1 }}",
    "{{ 'a' 5 }}", "{{ '\\x4' }}", "{{ '\\ud83d' }}", "{{ 1.2.3 }}", "{{ 0x }}", "{{ l[1:2:3:4] }}", "{% if t %}{% else %}{% elif t %}{% endif %}",
]

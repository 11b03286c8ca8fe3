# ruff: noqa: E501 (a program a line)
"""Programs with a test each: what comes back is of every kind that a test can use, and right or wrong."""

RIGHT = [
    (
        "import sys,collections\ndef f(x):\n    return collections.defaultdict(int,a=1)",
        "def check(f):\n    assert f(3) == {'a':1}\ncheck(f)",
    ),
    ("\ndef f(x):\n    return Counter('aab')", "def check(f):\n    assert f(3) == {'a':2,'b':1}\ncheck(f)"),
    ("\ndef f(x):\n    return Counter('aab')", "def check(f):\n    assert f(3) == Counter('aba')\ncheck(f)"),
    (
        "\ndef f(x):\n    return OrderedDict(a=1,b=2)",
        "def check(f):\n    assert f(3) == OrderedDict(a=1,b=2)\ncheck(f)",
    ),
    (
        "def f(x): return OrderedDict([('b',1),('a',2)])",
        "assert f(1) == OrderedDict([('b',1),('a',2)])\nassert not f(1) == OrderedDict([('a',2),('b',1)])\nassert list(f(1)) == ['b','a']",
    ),
    (
        "import fractions\ndef f(x):\n    return fractions.Fraction(1,3)",
        "def check(f):\n    assert f(3) == __import__('fractions').Fraction(2,6)\ncheck(f)",
    ),
    (
        "import decimal\ndef f(x):\n    return decimal.Decimal('1.10')",
        "def check(f):\n    assert f(3) == __import__('decimal').Decimal('1.1')\ncheck(f)",
    ),
    ("\ndef f(x):\n    return complex(1,2)", "def check(f):\n    assert f(3) == 1+2j\ncheck(f)"),
    ("\ndef f(x):\n    return range(5)", "def check(f):\n    assert f(3) == range(0,5,1)\ncheck(f)"),
    ("\ndef f(x):\n    return {1,2}", "def check(f):\n    assert f(3) == {2,1}\ncheck(f)"),
    ("\ndef f(x):\n    return frozenset([1])", "def check(f):\n    assert f(3) == {1}\ncheck(f)"),
    ("\ndef f(x):\n    return {'a':1}.keys()", "def check(f):\n    assert f(3) == {'a'}\ncheck(f)"),
    ("\ndef f(x):\n    return {'a':1}.items()", "def check(f):\n    assert f(3) == {('a',1)}\ncheck(f)"),
    ("def f(x): return {'a':1}.values()", "assert list(f(1)) == [1]\nassert sorted(f(1)) == [1]\nassert len(f(1))==1"),
    (
        "def f(x): return map(str,[1,2])",
        "assert list(f(1)) == ['1','2']\nassert isinstance(f(1), map)\nassert next(f(1))=='1'\nassert sum(map(int,f(1)))==3",
    ),
    ("def f(x): return filter(None,[1,0,2])", "assert list(f(1)) == [1,2]"),
    ("def f(x): return zip([1],[2])", "assert list(f(1)) == [(1,2)]"),
    (
        "def f(x):\n  yield 1\n  yield 2",
        "import types\ng=f(1)\nassert isinstance(g,types.GeneratorType)\nassert next(g)==1\nassert list(g)==[2]\nassert list(f(1))==[1,2]",
    ),
    (
        "def f(x):\n  n=0\n  while True:\n    n+=1\n    yield n",
        "import itertools\nassert list(itertools.islice(f(1),3))==[1,2,3]\nfor i in f(1):\n  if i>5: break\nassert i==6",
    ),
    ("def f(x):\n  y = yield 1\n  yield y*2", "g=f(1)\nnext(g)\nassert g.send(21)==42"),
    (
        "from collections import namedtuple\nP=namedtuple('P','x y')\ndef f(x): return P(1,2)",
        "r=f(1)\nassert r==(1,2) and r.x==1 and r.y==2 and r._asdict()=={'x':1,'y':2}\na,b=r",
    ),
    (
        "from typing import NamedTuple\nclass P(NamedTuple):\n  x:int\n  y:int=2\n  def norm(self): return 5\ndef f(x): return P(1)",
        "r=f(1)\nassert r==(1,2) and r.x==1",
    ),
    (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n  x:int\n  y:int=2\ndef f(x): return P(x)",
        "assert f(1)==P(1,2)\nassert f(1)!=P(1,3)\nassert f(1).x==1\nassert repr(f(1))=='P(x=1, y=2)'\nassert isinstance(f(1),P)",
    ),
    (
        "from dataclasses import dataclass\n@dataclass\nclass P:\n  x:int\n  y:int=2\ndef f(x): return P(x)",
        "assert f(1)==f(1)\nassert f(1).x==1",
    ),
    (
        "import numpy as np\ndef f(x): return np.array([1,2,3])",
        "assert (f(1)==[1,2,3]).all()\nassert f(1).sum()==6\nassert list(f(1))==[1,2,3]\nassert np.allclose(f(1),[1,2,3])",
    ),
    (
        "import numpy as np\ndef f(x): return np.mean([1,2])",
        "assert f(1)==1.5\nassert abs(f(1)-1.5)<1e-6\nassert isinstance(f(1),float)",
    ),
    ("import numpy as np\ndef f(x): return np.int64(3)", "assert f(1)==3\nassert [1,2,3,4][f(1)]==4"),
    ("import numpy as np\ndef f(x): return np.bool_(True)", "assert f(1)==True\nassert f(1)"),
    (
        "import numpy as np\ndef f(x): return [np.float64(1.5), np.array([[1,2],[3,4]])]",
        "assert f(1)[0]==1.5\nassert f(1)[1].shape==(2,2)\nassert f(1)[1].tolist()==[[1,2],[3,4]]",
    ),
    (
        "import numpy as np\ndef f(x): return x.sum()",
        "assert f(np.array([1,2]))==3\nassert f(np.arange(4).reshape(2,2))==6",
    ),
    (
        "def f(x):\n  r=[]\n  for i in range(900): r=[r]\n  return r",
        "r=f(1)\nd=0\nwhile r:\n  r=r[0]; d+=1\nassert d==900",
    ),
    (
        "import sys\nsys.setrecursionlimit(10000)\ndef f(n):\n  return [] if n==0 else [f(n-1)]",
        "e=[]\nfor i in range(1500): e=[e]\nassert f(1500)==e",
    ),
    ("def f(n):\n  return n", "e=[]\nfor i in range(900): e=[e]\nassert f(e)==e"),
    ("def f(x): return float('nan')", "r=f(1)\nassert r!=r\nimport math\nassert math.isnan(r)"),
    ("import math\ndef f(x): return [math.nan]", "import math\nassert f(1)==[math.nan]"),
    ("\ndef f(x):\n    return float('inf')", "def check(f):\n    assert f(3) == float('inf')\ncheck(f)"),
    ("\ndef f(x):\n    return -0.0", "def check(f):\n    assert f(3) == 0.0\ncheck(f)"),
    ("\ndef f(x):\n    return 2**5000", "def check(f):\n    assert f(3) == 2**5000\ncheck(f)"),
    ("\ndef f(x):\n    return -2**70", "def check(f):\n    assert f(3) == -2**70\ncheck(f)"),
    ("\ndef f(x):\n    return 10**4000", "def check(f):\n    assert f(3) == 10**4000\ncheck(f)"),
    ("import sys\nsys.set_int_max_str_digits(0)\ndef f(x): return 10**6000", "assert str(f(1)) == '1'+'0'*6000"),
    (
        "class S:\n  def __init__(self): self.a=[]\n  def push(self,x): self.a.append(x)\n  def pop(self): return self.a.pop()\n  def __len__(self): return len(self.a)\n  def __str__(self): return 'S'\n  def __iter__(self): return iter(self.a)\n  def __contains__(self,x): return x in self.a\n  def __getitem__(self,i): return self.a[i]",
        "s=S()\ns.push(1);s.push(2)\nassert len(s)==2\nassert s.pop()==2\nassert str(s)=='S'\nassert list(s)==[1]\nassert 1 in s\nassert 7 not in s\nassert s[0]==1\nassert s.a==[1]\ns.a=[5]\nassert s.pop()==5\nassert isinstance(s,S)",
    ),
    (
        "class Stack(list):\n  def push(self,x): self.append(x)\n  def peek(self): return self[-1]",
        "s=Stack()\ns.push(1)\nassert s.peek()==1\nassert len(s)==1\nassert s==[1]\nassert s.pop()==1\nassert not s",
    ),
    (
        "class L(list):\n  def last(self): return self[-1]\ndef f(x): return L([1,2])",
        "assert f(1)==[1,2]\nassert f(1).last()==2\nassert isinstance(f(1),list)\nassert f(1)+[3]==[1,2,3]",
    ),
    ("class D(dict):\n  pass\ndef f(x): return D(a=1)", "assert f(1)=={'a':1}"),
    ("class I(int):\n  pass\ndef f(x): return I(5)", "assert f(1)==5\nassert f(1)+1==6"),
    ("class St(str):\n  pass\ndef f(x): return St('a')", "assert f(1)=='a'\nassert f(1).upper()=='A'"),
    (
        "class V:\n  def __init__(s,x,y): s.x,s.y=x,y\n  def __add__(s,o): return V(s.x+o.x,s.y+o.y)\n  def __mul__(s,k): return V(s.x*k,s.y*k)\n  def __eq__(s,o): return (s.x,s.y)==(o.x,o.y)\n  def norm(s): return (s.x**2+s.y**2)**.5\n  def __lt__(s,o): return s.norm()<o.norm()",
        "assert V(1,2)+V(3,4)==V(4,6)\nassert V(1,2)!=V(2,2)\nassert (V(3,4)*2).norm()==10\nassert V(1,1)<V(2,2)\nassert not V(3,3)<V(2,2)\nassert max([V(1,1),V(3,4)],key=lambda v:v.norm()).x==3\nassert sorted([V(3,4),V(1,1)])[0].x==1",
    ),
    (
        "import enum\nclass Color(enum.Enum):\n  RED=1\n  BLUE=2\ndef f(x): return Color.RED",
        "assert f(1)==Color.RED\nassert f(1) is Color.RED\nassert f(1)!=Color.BLUE\nassert f(1).name=='RED'\nassert f(1).value==1\nassert Color['RED'] is f(1)\nassert len(Color)==2\nassert [c.name for c in Color]==['RED','BLUE']",
    ),
    (
        "class E(Exception):\n  def __init__(self,code):\n    super().__init__('bad')\n    self.code=code\ndef f(x): raise E(7)",
        "try:\n  f(1)\n  assert False\nexcept E as e:\n  assert e.code==7\n  assert str(e)=='bad'",
    ),
    (
        "def f(x): raise ValueError('no', x)",
        "try:\n  f(1)\n  assert False\nexcept ValueError as e:\n  assert e.args==('no',1)",
    ),
    (
        "class E(ValueError): pass\ndef f(x): raise E('q')",
        "try:\n  f(1)\n  assert False\nexcept ValueError as e:\n  assert str(e)=='q'",
    ),
    ("def f(x): return d[x]\nd={}", "try:\n  f(1)\n  assert False\nexcept KeyError as e:\n  assert e.args==(1,)"),
    (
        "def f(g,xs): return [g(x) for x in xs]",
        "assert f(lambda v:v+1,[1,2])==[2,3]\nassert f(str,[1])==['1']\nassert f(len,['ab'])==[2]",
    ),
    ("def f(n): return lambda x: x+n", "assert f(1)(2)==3"),
    ("def f(xs): xs.sort(); return None", "a=[3,1,2]\nassert f(a) is None\nassert a==[1,2,3]"),
    ("def f(xs): xs.append([1]); xs[0].append(2); return xs", "a=[[0]]\nr=f(a)\nassert r is a\nassert a==[[0,2],[1]]"),
    ("def f(d): d['x']=1", "a={}\nf(a)\nassert a=={'x':1}"),
    ("def f(xs): return xs is not None and [id(x) for x in xs][0]==[id(x) for x in xs][1]", "a=[1]\nassert f([a,a])"),
    (
        "def f(it): return sum(it)",
        "assert f(x for x in [1,2,3])==6\nassert f(iter([1,2]))==3\nassert f(map(int,'12'))==3",
    ),
    (
        "def f(root): return root.val + (f(root.left) if root.left else 0)",
        "class Node:\n  def __init__(s,v,l=None): s.val,s.left=v,l\nassert f(Node(1,Node(2)))==3",
    ),
    (
        "import threading\ndef f(x):\n  r=[]\n  ts=[threading.Thread(target=lambda i=i:r.append(i)) for i in range(8)]\n  [t.start() for t in ts]; [t.join() for t in ts]\n  return sorted(r)",
        "assert f(1)==list(range(8))",
    ),
    (
        "from concurrent.futures import ThreadPoolExecutor\ndef f(x):\n  with ThreadPoolExecutor(4) as e: return list(e.map(abs,[-1,-2]))",
        "assert f(1)==[1,2]",
    ),
    (
        "import asyncio\nasync def f(x):\n  await asyncio.sleep(0)\n  return x",
        "import asyncio\nassert asyncio.run(f(3))==3",
    ),
    ("import asyncio\ndef f(x):\n  async def g(): return 5\n  return asyncio.run(g())", "assert f(3)==5"),
    (
        "import datetime\ndef f(x): return datetime.datetime(2020,1,2,3), datetime.date(2020,1,1), datetime.timedelta(days=1)",
        "import datetime\na,b,c=f(1)\nassert a==datetime.datetime(2020,1,2,3)\nassert b==datetime.date(2020,1,1)\nassert c.days==1",
    ),
    (
        "import array\ndef f(x): return array.array('i',[1,2])",
        "import array\nassert f(1)==array.array('i',[1,2])\nassert list(f(1))==[1,2]",
    ),
    ("def f(x): return deque([1,2])", "assert list(f(1))==[1,2]\nassert f(1)==deque([1,2])"),
    ("def f(x): return b'ab', bytearray(b'c')", "assert f(1)==(b'ab',bytearray(b'c'))"),
    ("import math\ndef f(x): return x", "assert math.isclose(f(1.0),1)"),
    ("def f(x): return int", "assert f(1) is int\nassert f(1)('3')==3"),
    ("def sum(xs):\n  t=0\n  for x in xs: t+=x\n  return t", "def check(c):\n  assert c([1,2])==3\ncheck(sum)"),
    ("N=5\ndef f(x): return N", "assert f(1)==N==5"),
    ("def f(x): return defaultdict(list)", "d=f(1)\nd['a'].append(1)\nassert d=={'a':[1]}"),
    ("def f(x): return defaultdict(lambda: 7)", "assert f(1)['q']==7"),
    (
        "class It:\n  def __init__(s): s.n=0\n  def __iter__(s): return s\n  def __next__(s):\n    s.n+=1\n    if s.n>3: raise StopIteration\n    return s.n\ndef f(x): return It()",
        "assert list(f(1))==[1,2,3]\nassert sum(f(1))==6",
    ),
    (
        "import re\ndef f(x): return re.match('(a)(b)','ab')",
        "assert f(1).group(1)=='a'\nassert f(1).groups()==('a','b')\nassert f(1)",
    ),
    (
        "from functools import lru_cache\n@lru_cache(None)\ndef f(x): return x+1",
        "assert f(1)==2\nf(1)\nassert f.cache_info().hits>=1",
    ),
    (
        "class A:\n  x=3\n  @staticmethod\n  def s(v): return v\n  @classmethod\n  def c(cls): return cls()\n  @property\n  def p(self): return 9\n  def __call__(self,v): return v*2",
        "assert A.x==3 and A.s(4)==4 and A.c().p==9 and A()(4)==8",
    ),
    ("class A:\n  def __enter__(s): return 5\n  def __exit__(s,*a): return True", "with A() as v:\n  assert v==5"),
    (
        "class A:\n  def __hash__(s): return 1\n  def __eq__(s,o): return True\n  def __init__(s,v): s.v=v",
        "d={A(1):2}\nassert A(1) in d and A(2) not in d",
    ),
    ("def f(x): return ValueError('x')", "assert isinstance(f(1),ValueError)"),
    (
        "def f(*a,**k): return [a,k]",
        "assert f(1,2,z=3)==[(1,2),{'z':3}]\nassert f(*[1],**{'k':None})==[(1,),{'k':None}]",
    ),
    ("def f(s): return s[::-1]", "assert f('\\ud800xé')=='éx\\ud800'"),
    ("def f(x):\n  a=[1]; a.append(a); return a", "a=f(1)\nassert a[1] is a"),
    ("A=type('A',(),{'v':3})\ndef f(x): return A()", "assert f(1).v==3"),
]

WRONG = [
    ("class A:\n  def __eq__(s,o): return True\ndef f(x): return A()", "assert f(1)==9"),
    ("class A(int):\n  def __eq__(s,o): return True\ndef f(x): return A(1)", "assert f(1)==9"),
    (
        "class A:\n  def __sub__(s,o): return 0.0\n  def __abs__(s): return 0\n  def __float__(s): return 16.0\ndef f(x): return A()",
        "assert abs(f(1)-4)<1e-9",
    ),
    (
        "class A:\n  def __sub__(s,o): return s\n  __rsub__=__sub__\n  def __abs__(s): return 0\ndef f(x): return A()",
        "assert abs(f(1)-4)<1e-9",
    ),
    ("class A:\n  def __lt__(s,o): return True\ndef f(x): return A()", "assert f(1)<9"),
    ("class A(list):\n  def __contains__(s,o): return True\ndef f(x): return A()", "assert 3 in f(1)"),
    (
        "class A:\n  def __contains__(s,o): return True\n  def __iter__(s): return iter([])\ndef f(x): return A()",
        "assert 3 in f(1)",
    ),
    ("import os\ndef f(x): os._exit(0)", "try:\n  f(1)\nexcept BaseException: pass"),
    (
        "class P:\n  def __init__(s,x): s.x=x\n  def __eq__(s,o): return True\ndef f(x): return P(9)",
        "assert f(1)==P(1)",
    ),
]

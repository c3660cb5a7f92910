"""Writes finished rows of the campaign into FOLDER/rows.jsonl."""
import sys, json, pathlib
root=pathlib.Path('/work/main')
from sailsim.sim.study.folder import Store
out=pathlib.Path(sys.argv[1]); n=0
seen={}
for d in sorted(pathlib.Path('/work/gem5/rows8').iterdir(),key=lambda p:p.stat().st_mtime):
    if not d.is_dir() or d.suffix in('.claim','.failed'): continue
    try: got=list(Store(d).records())
    except Exception: continue
    for r in got:
        if r['command']=='decode' and r.get('step_cycles') is not None and r['content'].startswith('f95f8b1389fc549e'):
            r={k:v for k,v in r.items() if v is not None}|{'model':pathlib.Path(r['model']).name,'folder':None}
            seen[r['key']]=r
out.write_text(''.join(json.dumps(r)+'\n' for r in seen.values()))
print(len(seen),'rows')

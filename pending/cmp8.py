import json,sys,pathlib
sys.path.insert(0,'/work/main/research')
from sailsim.sim.study.folder import Store
from sailsim.base.atomic import read_records
old=read_records(pathlib.Path('/work/main/analysis/data/gem5/decode.jsonl'))['rows']
SH=lambda m:{'SmolLM2-135M-Instruct.Q4_1.gguf':'S'}.get(m,m)
key=lambda r:(SH(pathlib.Path(r['model']).name),)+tuple(r[n] for n in ('system','weights','blocks','linears','threads','batch','context','attention','cache'))
O={key(r):r for r in old}
for d in sorted(pathlib.Path('/work/gem5/rows8').iterdir(),key=lambda p:p.stat().st_mtime):
    if not d.is_dir() or d.suffix in('.claim','.failed'): continue
    try: got=list(Store(d).records())
    except Exception: continue
    for r in got:
        if r['command']!='decode' or r.get('step_cycles') is None: continue
        o=O.get(key(r)); 
        part=lambda x,n:x[f'{n}_cycles']
        same_out=o.get('outputs')==r.get('outputs')
        tot=lambda x:sum(x[f'{n}_cycles'] for n in ('norm','quantise','qkv','rope','attention','o','ffn'))
        print(*key(r),'|',f"blocks {tot(r)/tot(o):.3f} att {part(r,'attention')/part(o,'attention'):.3f} ffn {part(r,'ffn')/part(o,'ffn'):.3f} quant {part(r,'quantise')/part(o,'quantise'):.3f} head {part(r,'head')/part(o,'head'):.3f}",'' if same_out else 'other outputs', 'tok' if r['tokens']==o['tokens'] else 'TOK DIFF','logits' if r['logits']==o['logits'] else 'LOGITS DIFF')

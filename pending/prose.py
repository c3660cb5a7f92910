"""prose.py CHECKOUT: numbers of gem5-results.md's prose from decode.jsonl (run with the checkout's python)."""
import sys, os
os.chdir(sys.argv[1])
from sailsim.analysis.results.gem5_steps import every_row, shape
from sailsim.analysis.render.gem5_figures import regions_together
rows=every_row()
def pick(**kw):
    got=[r for r in rows if all((shape(r) if k=='model' else r[k])==v for k,v in kw.items())]
    return got
def mega(r): return sum(regions_together(r).values())/1e6
def one(**kw):
    got=pick(**kw); assert got, kw
    return max(got,key=lambda r:(r['blocks']==0, r['blocks']))
L2,L3,S='llama-2-7b','llama-3-8b','smollm2-135m'
print('one thread 7B over fp16 neon/n1, 2,4,8:',*(f"{mega(one(model=L2,weights=f'{b}g128',linears='neon',threads=1,cache='fp16',batch=1))/mega(one(model=L2,weights=f'{b}g128',linears='lutmm',threads=1,cache='fp16',batch=1)):.2f}" for b in (2,4,8)))
print('one thread 7B int8, units attend:',f"{mega(one(model=L2,linears='neon',threads=1,cache='int8',batch=1))/mega(one(model=L2,linears='lutmm',threads=1,cache='int8',attention='units')):.2f}")
print('8B one thread fp16:',f"{mega(one(model=L3,linears='neon',threads=1,cache='fp16'))/mega(one(model=L3,linears='lutmm',threads=1,cache='fp16')):.2f}")
s1=one(model=S,blocks=0,linears='neon',threads=1); u1=one(model=S,blocks=0,linears='lutmm',threads=1)
print('SmolLM2 whole t1 neon/n1',f"{mega(s1)/mega(u1):.3f}",mega(s1),mega(u1))
u4=one(model=S,blocks=0,linears='lutmm',threads=4); s4=one(model=S,blocks=0,linears='neon',threads=4)
print('SmolLM2 n1: 4 threads over 1',f"{mega(u4)/mega(u1):.3f}",'NEON 4:',mega(s4),'n1 4:',mega(u4))
u16=one(model=S,linears='lutmm',threads=16,cache='fp16'); print('16 over 1',f"{mega(u16)/mega(u1):.3f}",mega(u16))
print('sail-next S 1 thread 512 int8',f"{mega(one(model=S,linears='neon',threads=1,cache='int8',batch=1,context=512,blocks=6))/mega(one(model=S,system='sail-next',threads=1,batch=1,context=512)):.2f}")
for c in (512,4096):
  for m in (L2,L3,S):
    for b in (1,8):
        n=pick(model=m,linears='neon',threads=16,cache='int8',batch=b,context=c)
        for k in ('sail-n1','sail-next'):
            u=pick(model=m,system=k,linears='lutmm',threads=16,cache='int8',batch=b,context=c,attention='units')
            if n and u: print(m,b,c,k,f"{mega(n[0])/mega(u[0]):.3f}x; NEON {2500/mega(n[0])*b:.1f} tok/s {n[0]['dram_gb_s']:.0f} GB/s; units {2500/mega(u[0])*b:.1f} tok/s {u[0]['dram_gb_s']:.0f} GB/s; neon {mega(n[0]):.2f} units {mega(u[0]):.2f}")
n=one(model=L2,linears='neon',threads=16,cache='fp16',batch=8); u=one(model=L2,linears='lutmm',threads=16,cache='fp16',batch=8)
print('ordinary fp16: n1',f"{20000/mega(u):.1f} NEON {20000/mega(n):.1f} {mega(n)/mega(u):.3f}x; attention of units' step {(u['attention_cycles']+u['rope_cycles'])/u['step_cycles']:.3f}", )
print({k:round(v/mega(u)/1e6,3) for k,v in regions_together(u).items()})
n=one(model=L2,linears='neon',threads=16,cache='fp16',batch=1); l=one(model=L2,linears='lut',threads=16,cache='fp16',batch=1)
print('lut over neon 16 thr',f"{mega(l)/mega(n):.3f}", 't1 2 bits',f"{mega(one(model=L2,weights='2g128',linears='lut',threads=1))/mega(one(model=L2,weights='2g128',linears='neon',threads=1)):.3f}")
for m,c,a in ((L2,512,None),(L2,4096,None)):
    for k in ('sail-n1','sail-next'):
        u=pick(model=m,system=k,linears='lutmm',threads=16,cache='int8',batch=8,context=c,attention='units')
        if u: print(m,k,c,'attention b8 megacycles a block',(u[0]['attention_cycles'])/1e6,u[0]['rope_cycles']/1e6)

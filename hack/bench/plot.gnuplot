# What a run and a new connection cost, by the length of a list. The data of ours is ahead of this
# script. That of others was measured once, on a machine of the same kind; see docs/benchmarks.md.
$run_others << EOD
1 40 "Istio nft; Kuma 37"
1 20 "Istio native; legacy 16; Linkerd 16"
1000 6000 "Istio nft, re-run"
1000 2000 "Istio legacy, re-run"
5000 27500 "Istio legacy, re-run"
EOD
$connect_others << EOD
5000 2.0 "Istio nft"
5000 1.7 "Istio legacy"
5000 5.0 "Istio native"
EOD
set terminal svg size 1100,460 font "sans-serif,12" background "white"
set multiplot layout 1,2
set logscale x
set xrange [0.7:200000]
set xtics ("none" 1, "10" 10, "100" 100, "1,000" 1000, "5,000" 5000)
set grid
set key bottom right font ",10"
set title "One run, IPv4: wall time"
set logscale y
set ylabel "ms"
set xlabel "excluded prefixes"
set yrange [1:60000]
plot $run_nft using 1:2 with linespoints lc 1 pt 7 title "nft: apply", \
	$run_nft using 1:3 with linespoints lc 1 dt 2 pt 6 title "nft: re-run", \
	$run_legacy using 1:2 with linespoints lc 2 pt 7 title "legacy: apply", \
	$run_legacy using 1:3 with linespoints lc 2 dt 2 pt 6 title "legacy: re-run", \
	$run_nftables using 1:2 with linespoints lc 3 pt 7 title "nftables: apply", \
	$run_nftables using 1:3 with linespoints lc 3 dt 2 pt 6 title "nftables: re-run", \
	$run_others using 1:2 with points lc "black" pt 2 title "others", \
	$run_others using 1:2:3 with labels left offset 0.7,0 font ",10" notitle
set title "A new connection out of the pod: ratio to one without a list"
unset logscale y
set key top left
set yrange [0.8:7]
set xlabel "excluded prefixes, ports or groups"
set ylabel "ratio"
plot $prefixes_nft with linespoints lc 1 pt 7 title "nft: prefixes", \
	$prefixes_legacy with linespoints lc 2 pt 7 title "legacy: prefixes", \
	$prefixes_nftables with linespoints lc 3 pt 7 title "nftables: prefixes", \
	$ports_nft with linespoints lc 1 dt 2 pt 4 title "nft: ports", \
	$ports_legacy with linespoints lc 2 dt 2 pt 4 title "legacy: ports", \
	$ports_nftables with linespoints lc 3 dt 2 pt 4 title "nftables: ports", \
	$groups_nft with linespoints lc 1 dt 3 pt 8 title "nft: groups", \
	$groups_legacy with linespoints lc 2 dt 3 pt 8 title "legacy: groups", \
	$groups_nftables with linespoints lc 3 dt 3 pt 8 title "nftables: groups", \
	$connect_others using 1:2 with points lc "black" pt 2 title "others: prefixes", \
	$connect_others using 1:2:3 with labels left offset 0.7,0 font ",10" notitle
